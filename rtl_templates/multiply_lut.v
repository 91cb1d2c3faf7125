// Signed product in LUTs: one conditional addition for each bit of `a`, whose sign bit subtracts. Latency: one cycle.
module multiply_lut #(
    parameter A_BITS = 4,
    parameter B_BITS = 5
) (
    input  wire                            clk,
    input  wire signed [A_BITS-1:0]        a,
    input  wire signed [B_BITS-1:0]        b,
    output reg  signed [A_BITS+B_BITS-1:0] product
);
    wire signed [A_BITS+B_BITS-1:0] wide;
    wire [A_BITS*(A_BITS+B_BITS)-1:0] sums;

    assign wide = {{A_BITS{b[B_BITS-1]}}, b};
    assign sums[0 +: A_BITS+B_BITS] = a[0] ? wide : {(A_BITS + B_BITS){1'b0}};

    genvar i;
    generate
        for (i = 1; i < A_BITS; i = i + 1) begin : partial
            wire [A_BITS+B_BITS-1:0] term;
            assign term = a[i] ? (wide <<< i) : {(A_BITS + B_BITS){1'b0}};
            if (i == A_BITS - 1) begin : sign
                assign sums[i*(A_BITS+B_BITS) +: A_BITS+B_BITS] =
                    sums[(i-1)*(A_BITS+B_BITS) +: A_BITS+B_BITS] - term;
            end else begin : magnitude
                assign sums[i*(A_BITS+B_BITS) +: A_BITS+B_BITS] =
                    sums[(i-1)*(A_BITS+B_BITS) +: A_BITS+B_BITS] + term;
            end
        end
    endgenerate

    always @(posedge clk) product <= sums[(A_BITS-1)*(A_BITS+B_BITS) +: A_BITS+B_BITS];
endmodule
