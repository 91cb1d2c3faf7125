// Memory with one write and one read port, in block RAM.
// Latency: data one cycle after the address. Contents start as zeros. Nobody reads a word in the
// cycle of its write (row tokens see to it), which `no_rw_check` tells synthesis.
module ram_block #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter ADDRESS_BITS = 4
) (
    input  wire                    clk,
    input  wire                    write_enable,
    input  wire [ADDRESS_BITS-1:0] write_address,
    input  wire [WIDTH-1:0]        write_data,
    input  wire [ADDRESS_BITS-1:0] read_address,
    output reg  [WIDTH-1:0]        read_data
);
    (* ram_style = "block" *) (* no_rw_check *)
    reg [WIDTH-1:0] words [0:DEPTH-1];

    integer i;
    initial for (i = 0; i < DEPTH; i = i + 1) words[i] = {WIDTH{1'b0}};

    always @(posedge clk) begin
        if (write_enable) words[write_address] <= write_data;
        read_data <= words[read_address];
    end
endmodule
