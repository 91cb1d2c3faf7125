// Row tokens of one edge: how many rows a consumer may read and how many its producer may still write.
// Each input is an amount of rows, 0 for none; all four may come in the same cycle. Latency: an amount is seen one cycle later.
module row_tokens #(
    parameter ROWS = 2,       // rows of the buffer
    parameter COUNT_BITS = 2  // holds 0 .. ROWS
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire [COUNT_BITS-1:0] claim_write,  // producer: so many rows are going to be written; at most `free`
    input  wire [COUNT_BITS-1:0] commit,       // producer: so many of them are complete
    input  wire [COUNT_BITS-1:0] claim_read,   // consumer: so many rows are taken; at most `available`
    input  wire [COUNT_BITS-1:0] release_read, // consumer: so many of them may be overwritten
    output reg  [COUNT_BITS-1:0] free,         // rows that the producer may claim
    output reg  [COUNT_BITS-1:0] available     // complete rows that are not taken
);
    always @(posedge clk) begin
        if (rst) begin
            available <= {COUNT_BITS{1'b0}};
            free <= ROWS[COUNT_BITS-1:0];
        end else begin
            available <= available + commit - claim_read;
            free <= free + release_read - claim_write;
        end
    end
endmodule
