// Signed product in a DSP block. Latency: two cycles.
// Each multiplier has its own copy of `b`, which many share: no long wire ends at a DSP block, whose input is slow.
module multiply_dsp #(
    parameter A_BITS = 8,
    parameter B_BITS = 9
) (
    input  wire                            clk,
    input  wire signed [A_BITS-1:0]        a,
    input  wire signed [B_BITS-1:0]        b,
    output reg  signed [A_BITS+B_BITS-1:0] product
);
    reg signed [A_BITS-1:0] a_held;
    reg signed [B_BITS-1:0] b_held;

    always @(posedge clk) begin
        a_held <= a;
        product <= a_held * b_held;
    end

    (* keep *)
    always @(posedge clk) b_held <= b;
endmodule
