// Row buffer whose columns lie in banks: column c in bank c mod BANKS. Reads BANKS neighbouring columns at once.
// The read starts at a column with number READ_COLUMN mod BANKS; banks below that number hold columns one word further on.
// Latency: data one cycle after the address; column number b of each group of BANKS columns is word b of the data.
module column_buffer #(
    parameter BANKS = 2,
    parameter COLUMN_BITS = 1,  // log2(BANKS)
    parameter LANE_BITS = 8,
    parameter LANES = 4,
    parameter WRITE_LANES = 2,
    parameter READ_LANES = 4,
    parameter DEPTH = 16,
    parameter WORD_BITS = 4,
    parameter BANK_BITS = 1,
    parameter SELECT_BITS = 0,
    parameter WRITE_ADDRESS_BITS = 5,
    parameter READ_ADDRESS_BITS = 4,
    parameter BLOCK = 1
) (
    input  wire                                  clk,
    input  wire                                  write_enable,
    input  wire [COLUMN_BITS-1:0]                write_column,
    input  wire [WRITE_ADDRESS_BITS-1:0]         write_address,
    input  wire [WRITE_LANES*LANE_BITS-1:0]      write_data,
    input  wire [COLUMN_BITS-1:0]                read_column,
    input  wire [READ_ADDRESS_BITS-1:0]          read_address,
    input  wire [READ_ADDRESS_BITS-1:0]          read_next,  // the same place, BANKS columns further on
    output wire [BANKS*READ_LANES*LANE_BITS-1:0] read_data
);
    genvar b;
    generate
        for (b = 0; b < BANKS; b = b + 1) begin : bank
            localparam [COLUMN_BITS-1:0] NUMBER = b;
            wire [READ_ADDRESS_BITS-1:0] own_address;
            if (b == BANKS - 1) begin : last
                assign own_address = read_address;
            end else begin : other
                assign own_address = NUMBER < read_column ? read_next : read_address;
            end
            row_buffer #(
                .LANE_BITS(LANE_BITS), .LANES(LANES), .WRITE_LANES(WRITE_LANES), .READ_LANES(READ_LANES), .DEPTH(DEPTH),
                .WORD_BITS(WORD_BITS), .BANK_BITS(BANK_BITS), .SELECT_BITS(SELECT_BITS),
                .WRITE_ADDRESS_BITS(WRITE_ADDRESS_BITS), .READ_ADDRESS_BITS(READ_ADDRESS_BITS), .BLOCK(BLOCK)
            ) u_rows (
                .clk(clk), .write_enable(write_enable & (write_column == NUMBER)), .write_address(write_address),
                .write_data(write_data), .read_address(own_address),
                .read_data(read_data[b*READ_LANES*LANE_BITS +: READ_LANES*LANE_BITS])
            );
        end
    endgenerate
endmodule
