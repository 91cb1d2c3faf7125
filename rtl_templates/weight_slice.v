// A slice of the words of a weight memory that is loaded at run time: one write and one read port.
// Latency: data one cycle after the address. Nobody reads a word in the cycle of its write.
module weight_slice #(
    parameter WIDTH = 64,
    parameter DEPTH = 512,
    parameter ADDRESS_BITS = 9,
    parameter STYLE = "block",  // or "distributed": built of LUTs
    parameter FILE = "weights.hex"  // $readmemh text: what the memory holds at first
) (
    input  wire                    clk,
    input  wire                    write_enable,
    input  wire [ADDRESS_BITS-1:0] write_address,
    input  wire [WIDTH-1:0]        write_data,
    input  wire [ADDRESS_BITS-1:0] read_address,
    output reg  [WIDTH-1:0]        read_data
);
    (* ram_style = STYLE *) (* no_rw_check *)
    reg [WIDTH-1:0] words [0:DEPTH-1];

    initial $readmemh(FILE, words);

    always @(posedge clk) begin
        if (write_enable) words[write_address] <= write_data;
        read_data <= words[read_address];
    end
endmodule
