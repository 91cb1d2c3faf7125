// DRAM of a testbench behind an AXI4 read port: the first beat of a burst comes LATENCY cycles after its address, then a beat a
// cycle, bursts in order. With `stall`, addresses and beats wait at random.
module axi_memory #(
    parameter BITS = 64,
    parameter WORDS = 1024,  // of 32 bits
    parameter LATENCY = 40,
    parameter SEED = 1,
    parameter FILE = "stream.hex"
) (
    input  wire            clk,
    input  wire            stall,
    input  wire [31:0]     araddr,
    input  wire [7:0]      arlen,
    input  wire            arvalid,
    output wire            arready,
    output reg  [BITS-1:0] rdata,
    output reg             rlast,
    output reg             rvalid,
    input  wire            rready
);
    localparam QUEUE = 256;  // bursts under way

    reg [31:0] words [0:WORDS-1];
    reg [31:0] address [0:QUEUE-1];
    reg [7:0]  left [0:QUEUE-1];
    reg [31:0] due [0:QUEUE-1];
    reg [7:0]  head;
    reg [7:0]  tail;
    reg [31:0] cycle;
    reg [31:0] noise;
    integer i;

    initial begin
        $readmemh(FILE, words);
        head = 8'd0;
        tail = 8'd0;
        cycle = 32'd0;
        noise = SEED;
        rvalid = 1'b0;
        rlast = 1'b0;
        rdata = {BITS{1'b0}};
    end

    assign arready = !(stall && noise[1:0] != 2'd0);

    // An address taken in cycle t is answered in cycle t + LATENCY: its beat is put out at the end of the cycle before.
    always @(posedge clk) begin
        cycle <= cycle + 32'd1;
        noise <= {noise[30:0], noise[31] ^ noise[21] ^ noise[1] ^ noise[0]};
        if (arvalid && arready) begin
            address[tail] <= araddr;
            left[tail] <= arlen;
            due[tail] <= cycle + LATENCY - 32'd1;
            tail <= tail + 8'd1;
        end
        if (!rvalid || rready) begin
            rvalid <= 1'b0;
            if (head != tail && cycle >= due[head] && !(stall && noise[3:2] == 2'd0)) begin
                rvalid <= 1'b1;
                for (i = 0; i < BITS / 32; i = i + 1) rdata[32*i +: 32] <= words[address[head] / 4 + i];
                rlast <= left[head] == 8'd0;
                address[head] <= address[head] + BITS / 8;
                left[head] <= left[head] - 8'd1;
                if (left[head] == 8'd0) head <= head + 8'd1;
            end
        end
    end
endmodule
