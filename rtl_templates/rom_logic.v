// Constant words from a file, in logic. Latency: one cycle.
module rom_logic #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter ADDRESS_BITS = 4,
    parameter FILE = "rom.hex"  // $readmemh text
) (
    input  wire                    clk,
    input  wire [ADDRESS_BITS-1:0] address,
    output reg  [WIDTH-1:0]        data
);
    (* rom_style = "logic" *)
    reg [WIDTH-1:0] words [0:DEPTH-1];

    initial $readmemh(FILE, words);

    always @(posedge clk) data <= words[address];
endmodule
