// Row tokens of one edge: how many rows a consumer may read and how many its producer may still write.
// Latency: a pulse is seen one cycle later. Several pulses may come in the same cycle.
module row_tokens #(
    parameter ROWS = 2,       // rows of the buffer
    parameter COUNT_BITS = 2  // holds 0 .. ROWS
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  claim_write,  // producer: a row is going to be written
    input  wire                  commit,       // producer: that row is complete
    input  wire [COUNT_BITS-1:0] claim_read,   // consumer: so many rows are taken
    input  wire [COUNT_BITS-1:0] release_read, // consumer: so many rows may be overwritten
    output wire                  free,         // a row may be claimed by the producer
    output reg  [COUNT_BITS-1:0] available     // complete rows that are not taken
);
    reg [COUNT_BITS-1:0] credit;

    wire [COUNT_BITS-1:0] claimed;
    wire [COUNT_BITS-1:0] committed;

    generate
        if (COUNT_BITS > 1) begin : wide
            assign claimed = {{(COUNT_BITS - 1){1'b0}}, claim_write};
            assign committed = {{(COUNT_BITS - 1){1'b0}}, commit};
        end else begin : narrow
            assign claimed = claim_write;
            assign committed = commit;
        end
    endgenerate

    assign free = credit != {COUNT_BITS{1'b0}};

    always @(posedge clk) begin
        if (rst) begin
            available <= {COUNT_BITS{1'b0}};
            credit <= ROWS[COUNT_BITS-1:0];
        end else begin
            available <= available + committed - claim_read;
            credit <= credit + release_read - claimed;
        end
    end
endmodule
