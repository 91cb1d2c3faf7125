// Dot product of TERMS signed weights and TERMS signed inputs a cycle. Latency: 2 + LEVELS cycles.
module mac_lane #(
    parameter TERMS = 4,
    parameter LEVELS = 2,       // log2(TERMS), rounded up
    parameter WEIGHT_BITS = 8,
    parameter INPUT_BITS = 9,
    parameter USE_DSP = 1
) (
    input  wire                                     clk,
    input  wire [TERMS*WEIGHT_BITS-1:0]             weights,
    input  wire [TERMS*INPUT_BITS-1:0]              inputs,
    output wire [WEIGHT_BITS+INPUT_BITS+LEVELS-1:0] sum
);
    localparam PRODUCT_BITS = WEIGHT_BITS + INPUT_BITS;

    wire [TERMS*PRODUCT_BITS-1:0] products;

    genvar t;
    generate
        for (t = 0; t < TERMS; t = t + 1) begin : term
            if (USE_DSP == 1) begin : multiplier
                multiply_dsp #(.A_BITS(WEIGHT_BITS), .B_BITS(INPUT_BITS)) u_multiply (
                    .clk(clk), .a(weights[t*WEIGHT_BITS +: WEIGHT_BITS]), .b(inputs[t*INPUT_BITS +: INPUT_BITS]),
                    .product(products[t*PRODUCT_BITS +: PRODUCT_BITS])
                );
            end else begin : multiplier
                multiply_lut #(.A_BITS(WEIGHT_BITS), .B_BITS(INPUT_BITS)) u_multiply (
                    .clk(clk), .a(weights[t*WEIGHT_BITS +: WEIGHT_BITS]), .b(inputs[t*INPUT_BITS +: INPUT_BITS]),
                    .product(products[t*PRODUCT_BITS +: PRODUCT_BITS])
                );
            end
        end
    endgenerate

    adder_tree #(
        .TERMS(TERMS), .LEVELS(LEVELS), .TERM_BITS(PRODUCT_BITS), .SIGNED(1)
    ) u_tree (.clk(clk), .terms(products), .sum(sum));
endmodule
