// Brings the columns of a banked read into their order: output column i is the one that bank (first + i) mod BANKS holds.
// Combinational: one level of multiplexers for each bit of `first`.
module column_rotate #(
    parameter BANKS = 2,
    parameter COLUMN_BITS = 1,  // log2(BANKS)
    parameter WIDTH = 8         // bits of a column
) (
    input  wire [COLUMN_BITS-1:0] first,
    input  wire [BANKS*WIDTH-1:0] banks,
    output wire [BANKS*WIDTH-1:0] columns
);
    wire [(COLUMN_BITS+1)*BANKS*WIDTH-1:0] stages;
    assign stages[BANKS*WIDTH-1:0] = banks;

    genvar s;
    generate
        for (s = 0; s < COLUMN_BITS; s = s + 1) begin : stage
            wire [BANKS*WIDTH-1:0] unturned;
            assign unturned = stages[s*BANKS*WIDTH +: BANKS*WIDTH];
            assign stages[(s+1)*BANKS*WIDTH +: BANKS*WIDTH] =
                first[s] ? {unturned[(1 << s)*WIDTH-1:0], unturned[BANKS*WIDTH-1:(1 << s)*WIDTH]} : unturned;
        end
    endgenerate

    assign columns = stages[COLUMN_BITS*BANKS*WIDTH +: BANKS*WIDTH];
endmodule
