// Exact sum of 2^LEVELS signed terms. A register stands after every second level and after the last.
// Latency: ceil(LEVELS / 2) cycles.
module adder_tree #(
    parameter LEVELS = 2,
    parameter TERM_BITS = 16
) (
    input  wire                                clk,
    input  wire [(1 << LEVELS)*TERM_BITS-1:0]  terms,
    output wire signed [TERM_BITS+LEVELS-1:0]  sum
);
    localparam SUM_BITS = TERM_BITS + LEVELS;
    localparam TERMS = 1 << LEVELS;

    // Node i of level l is at ((2 * TERMS) - (2 * TERMS >> l)) + i.
    wire [2*TERMS*SUM_BITS-1:0] nodes;

    genvar i;
    genvar l;
    generate
        for (i = 0; i < TERMS; i = i + 1) begin : leaf
            if (LEVELS == 0) begin : same
                assign nodes[i*SUM_BITS +: SUM_BITS] = terms[i*TERM_BITS +: TERM_BITS];
            end else begin : extend
                assign nodes[i*SUM_BITS +: SUM_BITS] =
                    {{LEVELS{terms[(i+1)*TERM_BITS-1]}}, terms[i*TERM_BITS +: TERM_BITS]};
            end
        end
        for (l = 1; l <= LEVELS; l = l + 1) begin : level
            for (i = 0; i < (TERMS >> l); i = i + 1) begin : node
                wire [SUM_BITS-1:0] total;
                assign total = nodes[(2*TERMS - ((2*TERMS) >> (l-1)) + 2*i)*SUM_BITS +: SUM_BITS]
                             + nodes[(2*TERMS - ((2*TERMS) >> (l-1)) + 2*i + 1)*SUM_BITS +: SUM_BITS];
                if (l % 2 == 0 || l == LEVELS) begin : stage
                    reg [SUM_BITS-1:0] held;
                    always @(posedge clk) held <= total;
                    assign nodes[(2*TERMS - ((2*TERMS) >> l) + i)*SUM_BITS +: SUM_BITS] = held;
                end else begin : stage
                    assign nodes[(2*TERMS - ((2*TERMS) >> l) + i)*SUM_BITS +: SUM_BITS] = total;
                end
            end
        end
    endgenerate

    assign sum = nodes[(2*TERMS - 2)*SUM_BITS +: SUM_BITS];
    assign nodes[(2*TERMS - 1)*SUM_BITS +: SUM_BITS] = {SUM_BITS{1'b0}};
endmodule
