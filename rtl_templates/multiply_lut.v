// Signed product in LUTs: from four bits of `a`, each half meets `b` in the first cycle. Latency: two cycles.
module multiply_lut #(
    parameter A_BITS = 4,
    parameter B_BITS = 5
) (
    input  wire                     clk,
    input  wire [A_BITS-1:0]        a,      // signed
    input  wire [B_BITS-1:0]        b,      // signed
    output reg  [A_BITS+B_BITS-1:0] product // signed
);
    localparam LOW = A_BITS / 2;

    generate
        if (A_BITS < 4) begin : whole
            reg  [A_BITS-1:0] a_held;
            reg  [B_BITS-1:0] b_held;
            wire [A_BITS+B_BITS-1:0] value;
            multiply_slice #(
                .A_BITS(A_BITS), .B_BITS(B_BITS), .A_SIGNED(1)
            ) u_slice (.a(a_held), .b(b_held), .product(value));
            always @(posedge clk) begin
                a_held <= a;
                b_held <= b;
                product <= value;
            end
        end else begin : halves
            wire [LOW+B_BITS-1:0] low;
            wire [A_BITS-LOW+B_BITS-1:0] high;
            reg  [LOW+B_BITS-1:0] low_held;
            reg  [A_BITS-LOW+B_BITS-1:0] high_held;
            multiply_slice #(
                .A_BITS(LOW), .B_BITS(B_BITS), .A_SIGNED(0)
            ) u_low (.a(a[LOW-1:0]), .b(b), .product(low));
            multiply_slice #(
                .A_BITS(A_BITS - LOW), .B_BITS(B_BITS), .A_SIGNED(1)
            ) u_high (.a(a[A_BITS-1:LOW]), .b(b), .product(high));
            always @(posedge clk) begin
                low_held <= low;
                high_held <= high;
                product[LOW-1:0] <= low_held[LOW-1:0];
                product[A_BITS+B_BITS-1:LOW] <=
                    high_held + {{(A_BITS - LOW){low_held[LOW+B_BITS-1]}}, low_held[LOW+B_BITS-1:LOW]};
            end
        end
    endgenerate
endmodule
