// FIELDS products with one factor in one DSP block: the fields lie SPACING bits apart in its wide port, so that
// neighbouring products overlap by OVERLAP bits. With r[i] what the products below carry into field i,
//     totals[i] = fields[i] * factor + r[i],    carries[i] = r[i],    r[0] = 0;
// r[i] is known from the lowest OVERLAP bits of the field's part of the block's output, of the field and of the factor.
// FACTOR_SIGNED 0: the factor is unsigned, and so is every field but the last, which is signed. Carries are unsigned.
//               1: the factor is signed, the fields are unsigned. Totals and carries are signed; OVERLAP >= 1.
// Latency: two cycles. Each block has its own copy of the factor, as in multiply_dsp.
module multiply_packed #(
    parameter FIELDS = 2,
    parameter SPACING = 16,
    parameter OVERLAP = 0,         // FIELD_BITS + FACTOR_BITS - SPACING, at most 3, FIELD_BITS and FACTOR_BITS
    parameter FIELD_BITS = 8,
    parameter FACTOR_BITS = 8,
    parameter FACTOR_SIGNED = 0
) (
    input  wire                                               clk,
    input  wire [FIELDS*FIELD_BITS-1:0]                       fields,
    input  wire [FACTOR_BITS-1:0]                             factor,
    output wire [FIELDS*(FIELD_BITS+FACTOR_BITS)-1:0]         totals,
    output wire [FIELDS*(OVERLAP == 0 ? 1 : OVERLAP)-1:0]     carries
);
    localparam TOTAL_BITS = FIELD_BITS + FACTOR_BITS;
    localparam CARRY_BITS = OVERLAP == 0 ? 1 : OVERLAP;
    localparam TOP = (FIELDS - 1) * SPACING;  // place of the last field

    wire signed [TOP+FIELD_BITS+FACTOR_SIGNED-1:0] word;
    wire signed [FACTOR_BITS:0] operand;
    reg  signed [TOP+TOTAL_BITS-1:0] product;
    reg  [FIELDS*FIELD_BITS-1:0] fields_held;
    reg  [FACTOR_BITS-1:0] factor_held;

    (* keep *)
    always @(posedge clk) factor_held <= factor;

    always @(posedge clk) begin
        fields_held <= fields;
        product <= word * operand;
    end

    assign operand = {FACTOR_SIGNED == 1 ? factor_held[FACTOR_BITS-1] : 1'b0, factor_held};
    assign word[TOP +: FIELD_BITS] = fields_held[(FIELDS-1)*FIELD_BITS +: FIELD_BITS];
    assign totals[(FIELDS-1)*TOTAL_BITS +: TOTAL_BITS] = product[TOP +: TOTAL_BITS];
    assign carries[0 +: CARRY_BITS] = {CARRY_BITS{1'b0}};

    genvar i;
    generate
        if (FACTOR_SIGNED == 1) begin : unsigned_top
            assign word[TOP+FIELD_BITS] = 1'b0;
        end

        for (i = 0; i < FIELDS - 1; i = i + 1) begin : field
            assign word[i*SPACING +: FIELD_BITS] = fields_held[i*FIELD_BITS +: FIELD_BITS];
            if (SPACING > FIELD_BITS) begin : gap
                assign word[i*SPACING+FIELD_BITS +: SPACING-FIELD_BITS] = {(SPACING - FIELD_BITS){1'b0}};
            end
            assign totals[i*TOTAL_BITS +: SPACING] = product[i*SPACING +: SPACING];
            if (OVERLAP > 0) begin : overlap
                assign totals[i*TOTAL_BITS+SPACING +: OVERLAP] = carries[(i+1)*OVERLAP +: OVERLAP];
            end
        end

        for (i = 1; i < FIELDS; i = i + 1) begin : carry
            if (OVERLAP == 0) begin : none
                assign carries[i] = 1'b0;
            end else begin : low
                // r = product - field * factor, bit by bit, all modulo 2^OVERLAP.
                reg  [OVERLAP-1:0] a;
                reg  [OVERLAP-1:0] b;
                wire [OVERLAP-1:0] p = product[i*SPACING +: OVERLAP];
                wire [OVERLAP-1:0] r;
                wire low0 = a[0] & b[0];
                assign r[0] = p[0] ^ low0;
                if (OVERLAP > 1) begin : second
                    wire low1 = (a[1] & b[0]) ^ (a[0] & b[1]);
                    wire borrow0 = low0 & ~p[0];
                    assign r[1] = p[1] ^ low1 ^ borrow0;
                    if (OVERLAP > 2) begin : third
                        wire low2 = (a[2] & b[0]) ^ (a[1] & b[1]) ^ (a[0] & b[2]) ^ (a[1] & b[0] & a[0] & b[1]);
                        wire borrow1 = (low1 & borrow0) | ((low1 | borrow0) & ~p[1]);
                        assign r[2] = p[2] ^ low2 ^ borrow1;
                    end
                end
                assign carries[i*OVERLAP +: OVERLAP] = r;

                always @(posedge clk) begin
                    a <= fields_held[i*FIELD_BITS +: OVERLAP];
                    b <= factor_held[OVERLAP-1:0];
                end
            end
        end
    endgenerate
endmodule
