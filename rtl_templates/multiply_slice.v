// Product of a few bits of a number with `b`, in LUTs: a conditional addition for each bit. Combinational.
module multiply_slice #(
    parameter A_BITS = 2,
    parameter B_BITS = 5,
    parameter A_SIGNED = 1  // 1: the last bit of `a` subtracts
) (
    input  wire [A_BITS-1:0]        a,
    input  wire [B_BITS-1:0]        b,      // signed
    output wire [A_BITS+B_BITS-1:0] product // signed
);
    // Sum i holds the products of bits 0 .. i, without the i lowest bits, which are final.
    wire [A_BITS*(B_BITS+1)-1:0] sums;

    genvar i;
    generate
        for (i = 0; i < A_BITS; i = i + 1) begin : row
            wire [B_BITS:0] above;
            wire [B_BITS:0] term = {b[B_BITS-1], b} & {(B_BITS + 1){a[i]}};
            wire [B_BITS:0] sum;
            if (i == 0) begin : none
                assign above = {(B_BITS + 1){1'b0}};
            end else begin : some
                assign above = {sums[i*(B_BITS+1)-1], sums[(i-1)*(B_BITS+1)+1 +: B_BITS]};
                assign product[i-1] = sums[(i-1)*(B_BITS+1)];
            end
            if (A_SIGNED == 1 && i == A_BITS - 1) begin : sign
                assign sum = above - term;
            end else begin : magnitude
                assign sum = above + term;
            end
            assign sums[i*(B_BITS+1) +: B_BITS+1] = sum;
        end
    endgenerate

    assign product[A_BITS-1 +: B_BITS+1] = sums[(A_BITS-1)*(B_BITS+1) +: B_BITS+1];
endmodule
