// Multiplier array of a chunk: OUT_LANES accumulators for each of COLUMNS columns, each of which takes TERMS products a cycle.
// Finished accumulators leave through `drain`, DRAIN_LANES a cycle, column 0 first, while the next block is computed.
// A block's last beat comes at least OUT_LANES * COLUMNS / DRAIN_LANES cycles after that of the block before.
// Latency: the last beat to `block_done` 2 + LEVELS cycles (packed: 3 + LEVELS), to the first drained group 2 more.
module mac_array #(
    parameter OUT_LANES = 4,
    parameter TERMS = 4,
    parameter COLUMNS = 1,
    parameter SHARED = 1,       // 1: all lanes of a column meet the same inputs (convolution), 0: each its own (depthwise)
    parameter DRAIN_LANES = 2,
    parameter WEIGHT_BITS = 8,  // signed; all columns meet the same weights
    parameter INPUT_BITS = 9,   // signed; packed: unsigned
    parameter ACC_BITS = 24,
    parameter MULTIPLIER = 1,   // 0: LUTs, 1: a DSP block each, 2: packed, see multiply_packed
    parameter FIELDS = 1,       // packed: lanes of a column (convolution) or columns (depthwise) in a DSP block
    parameter SPACING = 17,     // packed: bits from one of them to the next
    parameter MAXIMUM = 0       // 1: a block can take the maximum of its inputs; needs TERMS = 1 and SHARED = 0
) (
    input  wire                                                                clk,
    input  wire                                                                rst,
    input  wire [OUT_LANES*TERMS*WEIGHT_BITS-1:0]                              weights,  // by lane, then term
    input  wire [COLUMNS*(SHARED == 1 ? 1 : OUT_LANES)*TERMS*INPUT_BITS-1:0]   inputs,   // by column, lane, term
    input  wire                                                                beat_valid,
    input  wire                                                                beat_first,
    input  wire                                                                beat_last,
    input  wire                                                                beat_maximum,
    output wire                                                                block_done,
    output wire [DRAIN_LANES*ACC_BITS-1:0]                                     drain
);
    localparam LEVELS = TERMS <= 1 ? 0 : TERMS <= 2 ? 1 : TERMS <= 4 ? 2 : TERMS <= 8 ? 3 : TERMS <= 16 ? 4
                      : TERMS <= 32 ? 5 : TERMS <= 64 ? 6 : TERMS <= 128 ? 7 : TERMS <= 256 ? 8 : 9;
    localparam PIPELINE = (MULTIPLIER == 2 ? 4 : 3) + LEVELS;  // from the ports to the accumulators
    localparam LANES = OUT_LANES * COLUMNS;
    localparam COLUMN_BITS = (SHARED == 1 ? 1 : OUT_LANES) * TERMS * INPUT_BITS;
    localparam LANE_WEIGHT_BITS = TERMS * WEIGHT_BITS;
    localparam LANE_INPUT_BITS = TERMS * INPUT_BITS;
    localparam SUM_BITS = WEIGHT_BITS + INPUT_BITS + LEVELS;

    // Control goes along with the data.
    reg [PIPELINE-1:0] valid;
    reg [PIPELINE-1:0] last;
    reg clear;
    always @(posedge clk) begin
        if (rst) begin
            valid <= {PIPELINE{1'b0}};
            last <= {PIPELINE{1'b0}};
        end else begin
            valid <= {valid[PIPELINE-2:0], beat_valid};
            last <= {last[PIPELINE-2:0], beat_valid & beat_last};
        end
        clear <= rst | last[PIPELINE-2];
    end

    reg [OUT_LANES*LANE_WEIGHT_BITS-1:0] weights_held;
    reg [COLUMNS*COLUMN_BITS-1:0] inputs_held;
    wire [OUT_LANES*LANE_WEIGHT_BITS-1:0] operands;  // the weights as the multipliers want them
    always @(posedge clk) begin
        weights_held <= operands;
        inputs_held <= inputs;
    end

    wire [LANES*SUM_BITS-1:0] sums;  // by column, then lane

    genvar c;
    genvar o;
    genvar i;
    generate
        if (MULTIPLIER != 2) begin : single
            assign operands = weights;
            for (c = 0; c < COLUMNS; c = c + 1) begin : column
                for (o = 0; o < OUT_LANES; o = o + 1) begin : lane
                    mac_lane #(
                        .TERMS(TERMS), .LEVELS(LEVELS), .WEIGHT_BITS(WEIGHT_BITS), .INPUT_BITS(INPUT_BITS),
                        .USE_DSP(MULTIPLIER)
                    ) u_lane (
                        .clk(clk), .weights(weights_held[o*LANE_WEIGHT_BITS +: LANE_WEIGHT_BITS]),
                        .inputs(inputs_held[c*COLUMN_BITS+(SHARED == 1 ? 0 : o)*LANE_INPUT_BITS +: LANE_INPUT_BITS]),
                        .sum(sums[(c*OUT_LANES+o)*SUM_BITS +: SUM_BITS])
                    );
                end
            end
        end else if (SHARED == 1) begin : packed_lanes
            // Every lane of a pack but the last has 2^(WEIGHT_BITS-1) added to its weights, which makes them unsigned.
            for (o = 0; o < OUT_LANES; o = o + 1) begin : lane
                localparam RAISED = o % FIELDS == FIELDS - 1 || o == OUT_LANES - 1 ? 1'b0 : 1'b1;
                assign operands[o*LANE_WEIGHT_BITS +: LANE_WEIGHT_BITS] =
                    weights[o*LANE_WEIGHT_BITS +: LANE_WEIGHT_BITS] ^ {TERMS{RAISED, {(WEIGHT_BITS - 1){1'b0}}}};
            end
            for (c = 0; c < COLUMNS; c = c + 1) begin : column
                wire [INPUT_BITS+LEVELS-1:0] input_sum;
                reg  [INPUT_BITS+LEVELS-1:0] input_sum_held;
                reg  [INPUT_BITS+LEVELS-1:0] offset;
                adder_tree #(
                    .TERMS(TERMS), .LEVELS(LEVELS), .TERM_BITS(INPUT_BITS), .SIGNED(0)
                ) u_inputs (.clk(clk), .terms(inputs_held[c*COLUMN_BITS +: COLUMN_BITS]), .sum(input_sum));
                always @(posedge clk) begin
                    input_sum_held <= input_sum;
                    offset <= input_sum_held;
                end

                for (o = 0; o < OUT_LANES; o = o + FIELDS) begin : pack
                    localparam COUNT = OUT_LANES - o < FIELDS ? OUT_LANES - o : FIELDS;
                    mac_pack #(
                        .FIELDS(COUNT), .SPACING(SPACING), .TERMS(TERMS), .LEVELS(LEVELS), .FIELD_BITS(WEIGHT_BITS),
                        .FACTOR_BITS(INPUT_BITS), .FACTOR_SIGNED(0)
                    ) u_pack (
                        .clk(clk), .fields(weights_held[o*LANE_WEIGHT_BITS +: COUNT*LANE_WEIGHT_BITS]),
                        .factors(inputs_held[c*COLUMN_BITS +: COLUMN_BITS]),
                        .offset({1'b0, offset, {(WEIGHT_BITS - 1){1'b0}}}),
                        .sums(sums[(c*OUT_LANES+o)*SUM_BITS +: COUNT*SUM_BITS])
                    );
                end
            end
        end else begin : packed_columns
            assign operands = weights;
            for (o = 0; o < OUT_LANES; o = o + 1) begin : lane
                for (c = 0; c < COLUMNS; c = c + FIELDS) begin : pack
                    localparam COUNT = COLUMNS - c < FIELDS ? COLUMNS - c : FIELDS;
                    wire [COUNT*LANE_INPUT_BITS-1:0] own_inputs;
                    wire [COUNT*SUM_BITS-1:0] own_sums;
                    mac_pack #(
                        .FIELDS(COUNT), .SPACING(SPACING), .TERMS(TERMS), .LEVELS(LEVELS), .FIELD_BITS(INPUT_BITS),
                        .FACTOR_BITS(WEIGHT_BITS), .FACTOR_SIGNED(1)
                    ) u_pack (
                        .clk(clk), .fields(own_inputs), .factors(weights_held[o*LANE_WEIGHT_BITS +: LANE_WEIGHT_BITS]),
                        .offset({SUM_BITS{1'b0}}), .sums(own_sums)
                    );
                    for (i = 0; i < COUNT; i = i + 1) begin : field
                        assign own_inputs[i*LANE_INPUT_BITS +: LANE_INPUT_BITS] =
                            inputs_held[(c+i)*COLUMN_BITS+o*LANE_INPUT_BITS +: LANE_INPUT_BITS];
                        assign sums[((c+i)*OUT_LANES+o)*SUM_BITS +: SUM_BITS] = own_sums[i*SUM_BITS +: SUM_BITS];
                    end
                end
            end
        end
    endgenerate

    // Accumulate; a block's last beat leaves zeros behind.
    wire [LANES*ACC_BITS-1:0] totals;
    reg  [LANES*ACC_BITS-1:0] accumulators;
    reg  [LANES*ACC_BITS-1:0] finished;

    generate
        for (o = 0; o < LANES; o = o + 1) begin : accumulator
            wire [SUM_BITS-1:0] sum = sums[o*SUM_BITS +: SUM_BITS];
            wire [ACC_BITS-1:0] own = accumulators[o*ACC_BITS +: ACC_BITS];
            wire [ACC_BITS-1:0] addend;
            wire [ACC_BITS-1:0] total = own + addend;
            if (ACC_BITS > SUM_BITS) begin : wide
                assign addend = {{(ACC_BITS - SUM_BITS){sum[SUM_BITS-1]}}, sum};
            end else begin : narrow
                wire unused = &{1'b0, sum};
                assign addend = sum[ACC_BITS-1:0];
            end
            if (MAXIMUM == 0) begin : total_only
                assign totals[o*ACC_BITS +: ACC_BITS] = total;
            end
        end

        if (MAXIMUM == 1) begin : maximum
            // The inputs go round the multipliers.
            wire [PIPELINE*LANES*INPUT_BITS-1:0] around;
            assign around[LANES*INPUT_BITS-1:0] = inputs_held;
            for (i = 1; i < PIPELINE; i = i + 1) begin : stage
                reg [LANES*INPUT_BITS-1:0] held;
                always @(posedge clk) held <= around[(i-1)*LANES*INPUT_BITS +: LANES*INPUT_BITS];
                assign around[i*LANES*INPUT_BITS +: LANES*INPUT_BITS] = held;
            end
            reg [PIPELINE-1:0] first;
            reg [PIPELINE-1:0] larger;
            always @(posedge clk) begin
                first <= {first[PIPELINE-2:0], beat_first};
                larger <= {larger[PIPELINE-2:0], beat_maximum};
            end
            for (o = 0; o < LANES; o = o + 1) begin : lane
                wire [INPUT_BITS-1:0] value = around[((PIPELINE-1)*LANES+o)*INPUT_BITS +: INPUT_BITS];
                wire sign = MULTIPLIER == 2 ? 1'b0 : value[INPUT_BITS-1];
                wire [ACC_BITS-1:0] wide = {{(ACC_BITS - INPUT_BITS){sign}}, value};
                wire [ACC_BITS-1:0] own = accumulators[o*ACC_BITS +: ACC_BITS];
                assign totals[o*ACC_BITS +: ACC_BITS] = !larger[PIPELINE-1] ? accumulator[o].total
                    : first[PIPELINE-1] || $signed(wide) > $signed(own) ? wide : own;
            end
        end else begin : sums_only
            wire unused = &{1'b0, beat_first, beat_maximum};
        end

        if (DRAIN_LANES == LANES) begin : drain_at_once
            always @(posedge clk) if (last[PIPELINE-1]) finished <= totals;
        end else begin : drain_in_turn
            always @(posedge clk) begin
                if (last[PIPELINE-1]) finished <= totals;
                else finished <= finished >> (DRAIN_LANES * ACC_BITS);
            end
        end
    endgenerate

    always @(posedge clk) begin
        if (clear) accumulators <= {(LANES*ACC_BITS){1'b0}};
        else if (valid[PIPELINE-1]) accumulators <= totals;
    end

    assign block_done = last[PIPELINE-2];
    assign drain = finished[DRAIN_LANES*ACC_BITS-1:0];
endmodule
