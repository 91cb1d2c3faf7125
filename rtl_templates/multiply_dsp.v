// Signed product in a DSP block. Latency: one cycle.
module multiply_dsp #(
    parameter A_BITS = 8,
    parameter B_BITS = 9
) (
    input  wire                            clk,
    input  wire signed [A_BITS-1:0]        a,
    input  wire signed [B_BITS-1:0]        b,
    output reg  signed [A_BITS+B_BITS-1:0] product
);
    always @(posedge clk) product <= a * b;
endmodule
