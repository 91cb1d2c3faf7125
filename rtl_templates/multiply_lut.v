// Signed product in LUTs: from four bits of `a` on, each half meets `b` in the first cycle. Latency: two cycles.
module multiply_lut #(
    parameter A_BITS = 4,
    parameter B_BITS = 5
) (
    input  wire                     clk,
    input  wire [A_BITS-1:0]        a,      // signed
    input  wire [B_BITS-1:0]        b,      // signed
    output reg  [A_BITS+B_BITS-1:0] product // signed
);
    localparam LOW = 2 * (A_BITS / 4);  // bits of the lower half: whole digits of `multiply_slice`

    generate
        if (A_BITS < 4) begin : whole
            reg  [A_BITS-1:0] a_held;
            reg  [B_BITS-1:0] b_held;
            wire [A_BITS+B_BITS-1:0] value;
            multiply_slice #(
                .A_BITS(A_BITS), .B_BITS(B_BITS)
            ) u_slice (.a(a_held), .below(1'b0), .b(b_held), .product(value));
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
                .A_BITS(LOW), .B_BITS(B_BITS)
            ) u_low (.a(a[LOW-1:0]), .below(1'b0), .b(b), .product(low));
            multiply_slice #(
                .A_BITS(A_BITS - LOW), .B_BITS(B_BITS)
            ) u_high (.a(a[A_BITS-1:LOW]), .below(a[LOW-1]), .b(b), .product(high));
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
