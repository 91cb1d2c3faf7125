// Multiplier array of a chunk. SHARED: every output lane meets all input lanes (convolution); otherwise each its own
// (depthwise). Finished accumulators leave through `drain`, DRAIN_LANES a cycle, while the next block is computed.
// Latency: the last beat to `block_done` 1 + TREE_STAGES cycles, to the first drained group 2 more.
module mac_array #(
    parameter OUT_LANES = 4,
    parameter LEVELS = 2,       // log2 of the input lanes that each output lane meets
    parameter TREE_STAGES = 1,  // ceil(LEVELS / 2)
    parameter SHARED = 1,
    parameter DRAIN_LANES = 2,
    parameter WEIGHT_BITS = 8,
    parameter INPUT_BITS = 9,
    parameter ACC_BITS = 24,
    parameter USE_DSP = 1
) (
    input  wire                                           clk,
    input  wire                                           rst,
    input  wire [OUT_LANES*(1 << LEVELS)*WEIGHT_BITS-1:0] weights,
    input  wire [(SHARED == 1 ? (1 << LEVELS) : OUT_LANES)*INPUT_BITS-1:0] inputs,
    input  wire                                           beat_valid,
    input  wire                                           beat_first,
    input  wire                                           beat_last,
    output wire                                           block_done,
    output wire [DRAIN_LANES*ACC_BITS-1:0]                drain
);
    localparam INPUT_LANES = SHARED == 1 ? (1 << LEVELS) : OUT_LANES;
    localparam PIPELINE = 2 + TREE_STAGES;  // from the ports to the accumulators

    reg [OUT_LANES*(1 << LEVELS)*WEIGHT_BITS-1:0] weights_held;
    reg [INPUT_LANES*INPUT_BITS-1:0] inputs_held;
    reg [PIPELINE-1:0] valid;
    reg [PIPELINE-1:0] first;
    reg [PIPELINE-1:0] last;
    wire [OUT_LANES*ACC_BITS-1:0] totals;
    reg  [OUT_LANES*ACC_BITS-1:0] finished;

    always @(posedge clk) begin
        weights_held <= weights;
        inputs_held <= inputs;
        first <= {first[PIPELINE-2:0], beat_first};
        if (rst) begin
            valid <= {PIPELINE{1'b0}};
            last <= {PIPELINE{1'b0}};
        end else begin
            valid <= {valid[PIPELINE-2:0], beat_valid};
            last <= {last[PIPELINE-2:0], beat_valid & beat_last};
        end
    end

    genvar o;
    generate
        for (o = 0; o < OUT_LANES; o = o + 1) begin : lane
            mac_lane #(
                .LEVELS(LEVELS), .WEIGHT_BITS(WEIGHT_BITS), .INPUT_BITS(INPUT_BITS), .ACC_BITS(ACC_BITS),
                .USE_DSP(USE_DSP)
            ) u_lane (
                .clk(clk),
                .weights(weights_held[o*(1 << LEVELS)*WEIGHT_BITS +: (1 << LEVELS)*WEIGHT_BITS]),
                .inputs(inputs_held[(SHARED == 1 ? 0 : o)*INPUT_BITS +: (1 << LEVELS)*INPUT_BITS]),
                .sum_valid(valid[PIPELINE-1]), .sum_first(first[PIPELINE-1]),
                .total(totals[o*ACC_BITS +: ACC_BITS])
            );
        end

        if (DRAIN_LANES == OUT_LANES) begin : drain_at_once
            always @(posedge clk) if (last[PIPELINE-1]) finished <= totals;
        end else begin : drain_in_turn
            always @(posedge clk) begin
                if (last[PIPELINE-1]) finished <= totals;
                else finished <= finished >> (DRAIN_LANES * ACC_BITS);
            end
        end
    endgenerate

    assign block_done = last[PIPELINE-2];
    assign drain = finished[DRAIN_LANES*ACC_BITS-1:0];
endmodule
