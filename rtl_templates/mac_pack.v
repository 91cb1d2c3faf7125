// Dot products of FIELDS vectors of TERMS numbers with one vector of factors a cycle, in TERMS DSP blocks (multiply_packed).
// `offset` is subtracted from every sum but the last. Latency: 3 + LEVELS cycles, of `offset` 1.
module mac_pack #(
    parameter FIELDS = 2,
    parameter SPACING = 16,
    parameter TERMS = 4,
    parameter LEVELS = 2,          // log2(TERMS), rounded up
    parameter FIELD_BITS = 8,
    parameter FACTOR_BITS = 8,
    parameter FACTOR_SIGNED = 0    // as for multiply_packed
) (
    input  wire                                             clk,
    input  wire [FIELDS*TERMS*FIELD_BITS-1:0]               fields,   // all terms of the first vector lowest
    input  wire [TERMS*FACTOR_BITS-1:0]                     factors,
    input  wire [FIELD_BITS+FACTOR_BITS+LEVELS-1:0]         offset,
    output wire [FIELDS*(FIELD_BITS+FACTOR_BITS+LEVELS)-1:0] sums
);
    localparam TOTAL_BITS = FIELD_BITS + FACTOR_BITS;
    localparam SUM_BITS = TOTAL_BITS + LEVELS;
    localparam OVERLAP = TOTAL_BITS - SPACING;
    localparam CARRY_BITS = OVERLAP == 0 ? 1 : OVERLAP;

    // By field, then term.
    wire [FIELDS*TERMS*TOTAL_BITS-1:0] totals;
    wire [FIELDS*TERMS*CARRY_BITS-1:0] carries;

    genvar i;
    genvar t;
    generate
        if (FIELDS == 1) begin : alone
            wire unused = &{1'b0, offset};
        end

        for (t = 0; t < TERMS; t = t + 1) begin : term
            wire [FIELDS*FIELD_BITS-1:0] own_fields;
            wire [FIELDS*TOTAL_BITS-1:0] own_totals;
            wire [FIELDS*CARRY_BITS-1:0] own_carries;

            multiply_packed #(
                .FIELDS(FIELDS), .SPACING(SPACING), .OVERLAP(OVERLAP), .FIELD_BITS(FIELD_BITS), .FACTOR_BITS(FACTOR_BITS),
                .FACTOR_SIGNED(FACTOR_SIGNED)
            ) u_multiply (
                .clk(clk), .fields(own_fields), .factor(factors[t*FACTOR_BITS +: FACTOR_BITS]),
                .totals(own_totals), .carries(own_carries)
            );

            for (i = 0; i < FIELDS; i = i + 1) begin : field
                assign own_fields[i*FIELD_BITS +: FIELD_BITS] = fields[(i*TERMS+t)*FIELD_BITS +: FIELD_BITS];
                assign totals[(i*TERMS+t)*TOTAL_BITS +: TOTAL_BITS] = own_totals[i*TOTAL_BITS +: TOTAL_BITS];
                assign carries[(i*TERMS+t)*CARRY_BITS +: CARRY_BITS] = own_carries[i*CARRY_BITS +: CARRY_BITS];
            end
        end

        for (i = 0; i < FIELDS; i = i + 1) begin : field
            wire [SUM_BITS-1:0] total;
            wire [CARRY_BITS+LEVELS-1:0] carry;
            reg  [SUM_BITS-1:0] sum;

            adder_tree #(
                .TERMS(TERMS), .LEVELS(LEVELS), .TERM_BITS(TOTAL_BITS), .SIGNED(i == FIELDS - 1 ? 1 : FACTOR_SIGNED)
            ) u_totals (.clk(clk), .terms(totals[i*TERMS*TOTAL_BITS +: TERMS*TOTAL_BITS]), .sum(total));

            adder_tree #(
                .TERMS(TERMS), .LEVELS(LEVELS), .TERM_BITS(CARRY_BITS), .SIGNED(FACTOR_SIGNED)
            ) u_carries (.clk(clk), .terms(carries[i*TERMS*CARRY_BITS +: TERMS*CARRY_BITS]), .sum(carry));

            wire carry_sign = FACTOR_SIGNED == 1 ? carry[CARRY_BITS+LEVELS-1] : 1'b0;
            wire [SUM_BITS-1:0] carried = {{(TOTAL_BITS - CARRY_BITS){carry_sign}}, carry};

            if (i < FIELDS - 1) begin : lower
                always @(posedge clk) sum <= total - carried - offset;
            end else begin : last
                always @(posedge clk) sum <= total - carried;
            end
            assign sums[i*SUM_BITS +: SUM_BITS] = sum;
        end
    endgenerate
endmodule
