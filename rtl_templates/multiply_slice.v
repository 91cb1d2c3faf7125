// Product of a slice of a number with `b`, in LUTs: an adder for each radix-4 Booth digit. Combinational.
module multiply_slice #(
    parameter A_BITS = 4,
    parameter B_BITS = 5
) (
    input  wire [A_BITS-1:0]        a,      // signed
    input  wire                     below,  // the number's bit under the slice, which counts as one more; 0: there is none
    input  wire [B_BITS-1:0]        b,      // signed
    output wire [A_BITS+B_BITS-1:0] product // signed: (a + below) * b
);
    localparam DIGITS = (A_BITS + 1) / 2;  // digit i is -2, -1, 0, 1 or 2, by bits 2i+1, 2i and 2i-1 of the number
    localparam ROW_BITS = B_BITS + 2;
    localparam LAST_BITS = A_BITS + B_BITS - 2 * (DIGITS - 1);

    wire [2*DIGITS:0] number;
    wire [DIGITS*ROW_BITS-1:0] sums;  // sum i: products of digits 0 .. i, without the 2i lowest bits, which are final

    assign number[A_BITS:0] = {a, below};

    genvar i;
    generate
        if (A_BITS < 2 * DIGITS) begin : odd
            assign number[A_BITS+1] = a[A_BITS-1];
        end
        for (i = 0; i < DIGITS; i = i + 1) begin : row
            wire minus = number[2*i+2];
            wire one = number[2*i+1] ^ number[2*i];
            wire two = (minus ^ number[2*i+1]) & ~one;
            // b or 2b, inverted where the digit is negative; the one that then lacks is carried in from a bit below.
            wire [B_BITS:0] term = {B_BITS + 1{minus}} ^ ({B_BITS + 1{one}} & {b[B_BITS-1], b} | {B_BITS + 1{two}} & {b, 1'b0});
            wire [ROW_BITS-1:0] above;
            wire unused;
            if (i == 0) begin : none
                assign above = {ROW_BITS{1'b0}};
            end else begin : some
                assign above = {{2{sums[i*ROW_BITS-1]}}, sums[(i-1)*ROW_BITS+2 +: B_BITS]};
                assign product[2*i-2 +: 2] = sums[(i-1)*ROW_BITS +: 2];
            end
            assign {sums[i*ROW_BITS +: ROW_BITS], unused} = {above, minus} + {term[B_BITS], term, minus};
        end
    endgenerate

    assign product[2*DIGITS-2 +: LAST_BITS] = sums[(DIGITS-1)*ROW_BITS +: LAST_BITS];
endmodule
