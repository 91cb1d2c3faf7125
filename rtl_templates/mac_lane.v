// One output channel: dot product of 2^LEVELS channels a cycle, accumulated over a block of beats.
// Latency: operands to accumulator 2 + ceil(LEVELS / 2) cycles.
module mac_lane #(
    parameter LEVELS = 2,
    parameter WEIGHT_BITS = 8,
    parameter INPUT_BITS = 9,
    parameter ACC_BITS = 24,  // more than WEIGHT_BITS + INPUT_BITS + LEVELS
    parameter USE_DSP = 1
) (
    input  wire                                 clk,
    input  wire [(1 << LEVELS)*WEIGHT_BITS-1:0] weights,
    input  wire [(1 << LEVELS)*INPUT_BITS-1:0]  inputs,
    input  wire                                 sum_valid, // the tree's sum belongs to a beat
    input  wire                                 sum_first, // which begins a block
    output wire [ACC_BITS-1:0]                  total      // accumulator with this sum
);
    localparam PRODUCT_BITS = WEIGHT_BITS + INPUT_BITS;
    localparam SUM_BITS = PRODUCT_BITS + LEVELS;

    wire [(1 << LEVELS)*PRODUCT_BITS-1:0] products;
    wire [SUM_BITS-1:0] sum;
    reg  [ACC_BITS-1:0] accumulator;

    genvar i;
    generate
        for (i = 0; i < (1 << LEVELS); i = i + 1) begin : term
            if (USE_DSP == 1) begin : multiplier
                multiply_dsp #(.A_BITS(WEIGHT_BITS), .B_BITS(INPUT_BITS)) u_multiply (
                    .clk(clk), .a(weights[i*WEIGHT_BITS +: WEIGHT_BITS]), .b(inputs[i*INPUT_BITS +: INPUT_BITS]),
                    .product(products[i*PRODUCT_BITS +: PRODUCT_BITS])
                );
            end else begin : multiplier
                multiply_lut #(.A_BITS(WEIGHT_BITS), .B_BITS(INPUT_BITS)) u_multiply (
                    .clk(clk), .a(weights[i*WEIGHT_BITS +: WEIGHT_BITS]), .b(inputs[i*INPUT_BITS +: INPUT_BITS]),
                    .product(products[i*PRODUCT_BITS +: PRODUCT_BITS])
                );
            end
        end
    endgenerate

    adder_tree #(.LEVELS(LEVELS), .TERM_BITS(PRODUCT_BITS)) u_tree (.clk(clk), .terms(products), .sum(sum));

    assign total = (sum_first ? {ACC_BITS{1'b0}} : accumulator) + {{(ACC_BITS - SUM_BITS){sum[SUM_BITS-1]}}, sum};

    always @(posedge clk) if (sum_valid) accumulator <= total;
endmodule
