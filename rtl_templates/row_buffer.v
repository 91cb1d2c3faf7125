// Memory between a writer and a reader with words of different widths.
// A word has LANES channels. The writer's address counts groups of WRITE_LANES channels, the reader's groups of READ_LANES;
// one of the two is LANES wide. Latency: data one cycle after the address.
module row_buffer #(
    parameter LANE_BITS = 8,
    parameter LANES = 4,
    parameter WRITE_LANES = 2,
    parameter READ_LANES = 4,
    parameter DEPTH = 16,              // words
    parameter WORD_BITS = 4,           // width of a word address
    parameter BANK_BITS = 1,           // log2(LANES / WRITE_LANES)
    parameter SELECT_BITS = 0,         // log2(LANES / READ_LANES)
    parameter WRITE_ADDRESS_BITS = 5,
    parameter READ_ADDRESS_BITS = 4,
    parameter BLOCK = 1                // 1: block RAM, 0: LUTs
) (
    input  wire                             clk,
    input  wire                             write_enable,
    input  wire [WRITE_ADDRESS_BITS-1:0]    write_address,
    input  wire [WRITE_LANES*LANE_BITS-1:0] write_data,
    input  wire [READ_ADDRESS_BITS-1:0]     read_address,
    output wire [READ_LANES*LANE_BITS-1:0]  read_data
);
    localparam BANKS = LANES / WRITE_LANES;

    wire [LANES*LANE_BITS-1:0] word;
    wire [WORD_BITS-1:0] write_word;
    wire [WORD_BITS-1:0] read_word;
    wire [BANKS-1:0] bank_enable;

    genvar b;
    generate
        if (BANK_BITS == 0) begin : one_bank
            assign write_word = write_address;
            assign bank_enable = write_enable;
        end else begin : many_banks
            assign write_word = write_address[WRITE_ADDRESS_BITS-1 -: WORD_BITS];
            assign bank_enable = {{(BANKS - 1){1'b0}}, write_enable} << write_address[BANK_BITS-1:0];
        end

        for (b = 0; b < BANKS; b = b + 1) begin : bank
            if (BLOCK == 1) begin : ram
                ram_block #(
                    .WIDTH(WRITE_LANES * LANE_BITS), .DEPTH(DEPTH), .ADDRESS_BITS(WORD_BITS)
                ) u_ram (
                    .clk(clk), .write_enable(bank_enable[b]), .write_address(write_word), .write_data(write_data),
                    .read_address(read_word), .read_data(word[b*WRITE_LANES*LANE_BITS +: WRITE_LANES*LANE_BITS])
                );
            end else begin : ram
                ram_distributed #(
                    .WIDTH(WRITE_LANES * LANE_BITS), .DEPTH(DEPTH), .ADDRESS_BITS(WORD_BITS)
                ) u_ram (
                    .clk(clk), .write_enable(bank_enable[b]), .write_address(write_word), .write_data(write_data),
                    .read_address(read_word), .read_data(word[b*WRITE_LANES*LANE_BITS +: WRITE_LANES*LANE_BITS])
                );
            end
        end

        if (SELECT_BITS == 0) begin : whole_word
            assign read_word = read_address;
            assign read_data = word;
        end else begin : part_of_word
            reg [SELECT_BITS-1:0] select;
            assign read_word = read_address[READ_ADDRESS_BITS-1 -: WORD_BITS];
            assign read_data = word[select*READ_LANES*LANE_BITS +: READ_LANES*LANE_BITS];
            always @(posedge clk) select <= read_address[SELECT_BITS-1:0];
        end
    endgenerate
endmodule
