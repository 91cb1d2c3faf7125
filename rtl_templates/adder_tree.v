// Exact sum of TERMS terms, LEVELS >= log2(TERMS) levels deep, with a register after every level.
// Latency: LEVELS cycles.
module adder_tree #(
    parameter TERMS = 4,
    parameter LEVELS = 2,
    parameter TERM_BITS = 16,
    parameter SIGNED = 1       // 1: terms and sum are signed, 0: unsigned
) (
    input  wire                         clk,
    input  wire [TERMS*TERM_BITS-1:0]   terms,
    output wire [TERM_BITS+LEVELS-1:0]  sum
);
    localparam HALF = LEVELS == 0 ? 1 : 1 << (LEVELS - 1);
    localparam HALF_BITS = TERM_BITS + LEVELS - 1;

    generate
        if (LEVELS == 0) begin : leaf
            wire unused = &{1'b0, clk};
            assign sum = terms;
        end else begin : node
            reg  [TERM_BITS+LEVELS-1:0] held;
            wire [HALF_BITS-1:0] low;
            wire low_sign = SIGNED == 1 ? low[HALF_BITS-1] : 1'b0;

            adder_tree #(
                .TERMS(TERMS < HALF ? TERMS : HALF), .LEVELS(LEVELS - 1), .TERM_BITS(TERM_BITS), .SIGNED(SIGNED)
            ) u_low (.clk(clk), .terms(terms[(TERMS < HALF ? TERMS : HALF)*TERM_BITS-1:0]), .sum(low));

            if (TERMS <= HALF) begin : one
                always @(posedge clk) held <= {low_sign, low};
            end else begin : two
                wire [HALF_BITS-1:0] high;
                wire high_sign = SIGNED == 1 ? high[HALF_BITS-1] : 1'b0;

                adder_tree #(
                    .TERMS(TERMS - HALF), .LEVELS(LEVELS - 1), .TERM_BITS(TERM_BITS), .SIGNED(SIGNED)
                ) u_high (.clk(clk), .terms(terms[TERMS*TERM_BITS-1:HALF*TERM_BITS]), .sum(high));

                always @(posedge clk) held <= {low_sign, low} + {high_sign, high};
            end

            assign sum = held;
        end
    endgenerate
endmodule
