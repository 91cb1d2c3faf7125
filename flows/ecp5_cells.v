// Simulation models of the ECP5 cells that Yosys 0.40 - 0.70 writes, for gate-level simulation of a netlist.
// Functional, no delays. Memories start with their INITVAL contents; a cell used in a way that is not modelled stops the simulation.
`timescale 1ns / 1ps

module LUT4 (input wire A, input wire B, input wire C, input wire D, output wire Z);
    parameter [15:0] INIT = 16'h0000;
    // By halves, so that an unknown input that makes no difference leaves the output known.
    wire [7:0] half = D ? INIT[15:8] : INIT[7:0];
    wire [3:0] quarter = C ? half[7:4] : half[3:0];
    wire [1:0] pair = B ? quarter[3:2] : quarter[1:0];
    assign Z = A ? pair[1] : pair[0];
endmodule

module PFUMX (input wire ALUT, input wire BLUT, input wire C0, output wire Z);
    assign Z = C0 ? ALUT : BLUT;
endmodule

module L6MUX21 (input wire D0, input wire D1, input wire SD, output wire Z);
    assign Z = SD ? D1 : D0;
endmodule

module INV (input wire A, output wire Z);
    assign Z = ~A;
endmodule

module VLO (output wire Z);
    assign Z = 1'b0;
endmodule

module VHI (output wire Z);
    assign Z = 1'b1;
endmodule

module CCU2C (
    input wire CIN, input wire A0, input wire B0, input wire C0, input wire D0,
    input wire A1, input wire B1, input wire C1, input wire D1, output wire S0, output wire S1, output wire COUT
);
    parameter [15:0] INIT0 = 16'h0000;
    parameter [15:0] INIT1 = 16'h0000;
    parameter INJECT1_0 = "YES";
    parameter INJECT1_1 = "YES";
    wire lut0, lut1, low0, low1;
    LUT4 #(.INIT(INIT0)) u_lut0 (.A(A0), .B(B0), .C(C0), .D(D0), .Z(lut0));
    LUT4 #(.INIT(INIT1)) u_lut1 (.A(A1), .B(B1), .C(C1), .D(D1), .Z(lut1));
    LUT4 #(.INIT(INIT0)) u_low0 (.A(A0), .B(B0), .C(1'b0), .D(1'b0), .Z(low0));
    LUT4 #(.INIT(INIT1)) u_low1 (.A(A1), .B(B1), .C(1'b0), .D(1'b0), .Z(low1));
    wire generate0 = INJECT1_0 == "YES" ? 1'b0 : low0;
    wire generate1 = INJECT1_1 == "YES" ? 1'b0 : low1;
    wire carry0 = lut0 ? CIN : generate0;
    assign S0 = lut0 ^ (INJECT1_0 == "YES" ? 1'b0 : CIN);
    assign S1 = lut1 ^ (INJECT1_1 == "YES" ? 1'b0 : carry0);
    assign COUT = lut1 ? carry0 : generate1;
endmodule

module TRELLIS_FF (input wire CLK, input wire LSR, input wire CE, input wire DI, input wire M, output reg Q);
    parameter GSR = "ENABLED";
    parameter CEMUX = "1";
    parameter CLKMUX = "CLK";
    parameter LSRMUX = "LSR";
    parameter SRMODE = "LSR_OVER_CE";
    parameter REGSET = "RESET";
    parameter LSRMODE = "LSR";
    wire enable = CEMUX == "1" ? 1'b1 : CEMUX == "0" ? 1'b0 : CEMUX == "INV" ? ~CE : CE;
    wire reset = LSRMUX == "INV" ? ~LSR : LSR;
    wire clock = CLKMUX == "INV" ? ~CLK : CLK;
    wire value = LSRMODE == "PRLD" ? M : REGSET == "SET";
    initial Q = REGSET == "SET";
    generate
        if (SRMODE == "ASYNC") begin : asynchronous
            always @(posedge clock or posedge reset)
                if (reset) Q <= value;
                else if (enable) Q <= DI;
        end else begin : synchronous
            always @(posedge clock)
                if (SRMODE == "LSR_OVER_CE" ? reset : reset & enable) Q <= value;
                else if (enable) Q <= DI;
        end
    endgenerate
endmodule

module TRELLIS_DPR16X4 (
    input wire [3:0] DI, input wire [3:0] WAD, input wire WRE, input wire WCK, input wire [3:0] RAD, output wire [3:0] DO
);
    parameter WCKMUX = "WCK";
    parameter WREMUX = "WRE";
    parameter [63:0] INITVAL = 64'h0000000000000000;
    reg [3:0] words [0:15];
    wire clock = WCKMUX == "INV" ? ~WCK : WCK;
    wire enable = WREMUX == "1" ? 1'b1 : WREMUX == "0" ? 1'b0 : WREMUX == "INV" ? ~WRE : WRE;
    integer i;
    initial for (i = 0; i < 16; i = i + 1) words[i] = INITVAL[4*i +: 4];
    always @(posedge clock) if (enable) words[WAD] <= DI;
    assign DO = words[RAD];
endmodule

// 18x18 multiplier; combinational use only (what Yosys infers).
module MULT18X18D (
    input wire A0, input wire A1, input wire A2, input wire A3, input wire A4, input wire A5, input wire A6, input
    wire A7, input wire A8, input wire A9, input wire A10, input wire A11, input wire A12, input wire A13, input
    wire A14, input wire A15, input wire A16, input wire A17,
    input wire B0, input wire B1, input wire B2, input wire B3, input wire B4, input wire B5, input wire B6, input
    wire B7, input wire B8, input wire B9, input wire B10, input wire B11, input wire B12, input wire B13, input
    wire B14, input wire B15, input wire B16, input wire B17,
    input wire C0, input wire C1, input wire C2, input wire C3, input wire C4, input wire C5, input wire C6, input
    wire C7, input wire C8, input wire C9, input wire C10, input wire C11, input wire C12, input wire C13, input
    wire C14, input wire C15, input wire C16, input wire C17,
    input wire SIGNEDA, input wire SIGNEDB, input wire SOURCEA, input wire SOURCEB,
    input wire CLK0, input wire CLK1, input wire CLK2, input wire CLK3, input wire CE0, input wire CE1, input wire
    CE2, input wire CE3, input wire RST0, input wire RST1, input wire RST2, input wire RST3,
    input wire SRIA0, input wire SRIA1, input wire SRIA2, input wire SRIA3, input wire SRIA4, input wire SRIA5,
    input wire SRIA6, input wire SRIA7, input wire SRIA8, input wire SRIA9, input wire SRIA10, input wire SRIA11,
    input wire SRIA12, input wire SRIA13, input wire SRIA14, input wire SRIA15, input wire SRIA16, input wire
    SRIA17,
    input wire SRIB0, input wire SRIB1, input wire SRIB2, input wire SRIB3, input wire SRIB4, input wire SRIB5,
    input wire SRIB6, input wire SRIB7, input wire SRIB8, input wire SRIB9, input wire SRIB10, input wire SRIB11,
    input wire SRIB12, input wire SRIB13, input wire SRIB14, input wire SRIB15, input wire SRIB16, input wire
    SRIB17,
    output wire SROA0, output wire SROA1, output wire SROA2, output wire SROA3, output wire SROA4, output wire
    SROA5, output wire SROA6, output wire SROA7, output wire SROA8, output wire SROA9, output wire SROA10, output
    wire SROA11, output wire SROA12, output wire SROA13, output wire SROA14, output wire SROA15, output wire SROA16,
    output wire SROA17,
    output wire SROB0, output wire SROB1, output wire SROB2, output wire SROB3, output wire SROB4, output wire
    SROB5, output wire SROB6, output wire SROB7, output wire SROB8, output wire SROB9, output wire SROB10, output
    wire SROB11, output wire SROB12, output wire SROB13, output wire SROB14, output wire SROB15, output wire SROB16,
    output wire SROB17,
    output wire ROA0, output wire ROA1, output wire ROA2, output wire ROA3, output wire ROA4, output wire ROA5,
    output wire ROA6, output wire ROA7, output wire ROA8, output wire ROA9, output wire ROA10, output wire ROA11,
    output wire ROA12, output wire ROA13, output wire ROA14, output wire ROA15, output wire ROA16, output wire
    ROA17,
    output wire ROB0, output wire ROB1, output wire ROB2, output wire ROB3, output wire ROB4, output wire ROB5,
    output wire ROB6, output wire ROB7, output wire ROB8, output wire ROB9, output wire ROB10, output wire ROB11,
    output wire ROB12, output wire ROB13, output wire ROB14, output wire ROB15, output wire ROB16, output wire
    ROB17,
    output wire ROC0, output wire ROC1, output wire ROC2, output wire ROC3, output wire ROC4, output wire ROC5,
    output wire ROC6, output wire ROC7, output wire ROC8, output wire ROC9, output wire ROC10, output wire ROC11,
    output wire ROC12, output wire ROC13, output wire ROC14, output wire ROC15, output wire ROC16, output wire
    ROC17,
    output wire P0, output wire P1, output wire P2, output wire P3, output wire P4, output wire P5, output wire P6,
    output wire P7, output wire P8, output wire P9, output wire P10, output wire P11, output wire P12, output wire
    P13, output wire P14, output wire P15, output wire P16, output wire P17, output wire P18, output wire P19,
    output wire P20, output wire P21, output wire P22, output wire P23, output wire P24, output wire P25, output
    wire P26, output wire P27, output wire P28, output wire P29, output wire P30, output wire P31, output wire P32,
    output wire P33, output wire P34, output wire P35, output wire SIGNEDP
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_INPUTC_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_OUTPUT_CLK = "NONE";
    wire signed [18:0] a = {SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2,
    A1, A0};
    wire signed [18:0] b = {SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2,
    B1, B0};
    wire signed [37:0] product = a * b;
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
    P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = product[35:0];
    assign SIGNEDP = SIGNEDA | SIGNEDB;
    assign {SROA17, SROA16, SROA15, SROA14, SROA13, SROA12, SROA11, SROA10, SROA9, SROA8, SROA7, SROA6, SROA5,
    SROA4, SROA3, SROA2, SROA1, SROA0} = 18'd0;
    assign {SROB17, SROB16, SROB15, SROB14, SROB13, SROB12, SROB11, SROB10, SROB9, SROB8, SROB7, SROB6, SROB5,
    SROB4, SROB3, SROB2, SROB1, SROB0} = 18'd0;
    assign {ROA17, ROA16, ROA15, ROA14, ROA13, ROA12, ROA11, ROA10, ROA9, ROA8, ROA7, ROA6, ROA5, ROA4, ROA3, ROA2,
    ROA1, ROA0} = 18'd0;
    assign {ROB17, ROB16, ROB15, ROB14, ROB13, ROB12, ROB11, ROB10, ROB9, ROB8, ROB7, ROB6, ROB5, ROB4, ROB3, ROB2,
    ROB1, ROB0} = 18'd0;
    assign {ROC17, ROC16, ROC15, ROC14, ROC13, ROC12, ROC11, ROC10, ROC9, ROC8, ROC7, ROC6, ROC5, ROC4, ROC3, ROC2,
    ROC1, ROC0} = 18'd0;
    initial
        if (SOURCEA === 1'b1 || SOURCEB === 1'b1 || REG_INPUTA_CLK != "NONE" || REG_INPUTB_CLK != "NONE" ||
            REG_PIPELINE_CLK != "NONE" || REG_OUTPUT_CLK != "NONE") begin
            $display("MULT18X18D: a mode that is not modelled");
            $finish;
        end
endmodule

// 18 Kbit block RAM. Modelled: both ports at widths 1, 2, 4, 9, 18 and A write / B read at 36, no output register,
// no resets, chip selects at 000. A is written and read, B is written and read; a read returns the word before the write.
module DP16KD (
    input wire DIA0, input wire DIA1, input wire DIA2, input wire DIA3, input wire DIA4, input wire DIA5, input wire
    DIA6, input wire DIA7, input wire DIA8, input wire DIA9, input wire DIA10, input wire DIA11, input wire DIA12,
    input wire DIA13, input wire DIA14, input wire DIA15, input wire DIA16, input wire DIA17,
    input wire ADA0, input wire ADA1, input wire ADA2, input wire ADA3, input wire ADA4, input wire ADA5, input wire
    ADA6, input wire ADA7, input wire ADA8, input wire ADA9, input wire ADA10, input wire ADA11, input wire ADA12,
    input wire ADA13,
    input wire CEA, input wire OCEA, input wire CLKA, input wire WEA, input wire RSTA,
    input wire CSA0, input wire CSA1, input wire CSA2,
    output wire DOA0, output wire DOA1, output wire DOA2, output wire DOA3, output wire DOA4, output wire DOA5,
    output wire DOA6, output wire DOA7, output wire DOA8, output wire DOA9, output wire DOA10, output wire DOA11,
    output wire DOA12, output wire DOA13, output wire DOA14, output wire DOA15, output wire DOA16, output wire
    DOA17,
    input wire DIB0, input wire DIB1, input wire DIB2, input wire DIB3, input wire DIB4, input wire DIB5, input wire
    DIB6, input wire DIB7, input wire DIB8, input wire DIB9, input wire DIB10, input wire DIB11, input wire DIB12,
    input wire DIB13, input wire DIB14, input wire DIB15, input wire DIB16, input wire DIB17,
    input wire ADB0, input wire ADB1, input wire ADB2, input wire ADB3, input wire ADB4, input wire ADB5, input wire
    ADB6, input wire ADB7, input wire ADB8, input wire ADB9, input wire ADB10, input wire ADB11, input wire ADB12,
    input wire ADB13,
    input wire CEB, input wire OCEB, input wire CLKB, input wire WEB, input wire RSTB,
    input wire CSB0, input wire CSB1, input wire CSB2,
    output wire DOB0, output wire DOB1, output wire DOB2, output wire DOB3, output wire DOB4, output wire DOB5,
    output wire DOB6, output wire DOB7, output wire DOB8, output wire DOB9, output wire DOB10, output wire DOB11,
    output wire DOB12, output wire DOB13, output wire DOB14, output wire DOB15, output wire DOB16, output wire DOB17
);
    parameter DATA_WIDTH_A = 18;
    parameter REGMODE_A = "NOREG";
    parameter CSDECODE_A = "0b000";
    parameter WRITEMODE_A = "NORMAL";
    parameter CLKAMUX = "CLKA";
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_B = "NOREG";
    parameter CSDECODE_B = "0b000";
    parameter WRITEMODE_B = "NORMAL";
    parameter CLKBMUX = "CLKB";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter GSR = "ENABLED";
    parameter INIT_DATA = "STATIC";
    parameter [319:0] INITVAL_00 = 320'd0;
    parameter [319:0] INITVAL_01 = 320'd0;
    parameter [319:0] INITVAL_02 = 320'd0;
    parameter [319:0] INITVAL_03 = 320'd0;
    parameter [319:0] INITVAL_04 = 320'd0;
    parameter [319:0] INITVAL_05 = 320'd0;
    parameter [319:0] INITVAL_06 = 320'd0;
    parameter [319:0] INITVAL_07 = 320'd0;
    parameter [319:0] INITVAL_08 = 320'd0;
    parameter [319:0] INITVAL_09 = 320'd0;
    parameter [319:0] INITVAL_0A = 320'd0;
    parameter [319:0] INITVAL_0B = 320'd0;
    parameter [319:0] INITVAL_0C = 320'd0;
    parameter [319:0] INITVAL_0D = 320'd0;
    parameter [319:0] INITVAL_0E = 320'd0;
    parameter [319:0] INITVAL_0F = 320'd0;
    parameter [319:0] INITVAL_10 = 320'd0;
    parameter [319:0] INITVAL_11 = 320'd0;
    parameter [319:0] INITVAL_12 = 320'd0;
    parameter [319:0] INITVAL_13 = 320'd0;
    parameter [319:0] INITVAL_14 = 320'd0;
    parameter [319:0] INITVAL_15 = 320'd0;
    parameter [319:0] INITVAL_16 = 320'd0;
    parameter [319:0] INITVAL_17 = 320'd0;
    parameter [319:0] INITVAL_18 = 320'd0;
    parameter [319:0] INITVAL_19 = 320'd0;
    parameter [319:0] INITVAL_1A = 320'd0;
    parameter [319:0] INITVAL_1B = 320'd0;
    parameter [319:0] INITVAL_1C = 320'd0;
    parameter [319:0] INITVAL_1D = 320'd0;
    parameter [319:0] INITVAL_1E = 320'd0;
    parameter [319:0] INITVAL_1F = 320'd0;
    parameter [319:0] INITVAL_20 = 320'd0;
    parameter [319:0] INITVAL_21 = 320'd0;
    parameter [319:0] INITVAL_22 = 320'd0;
    parameter [319:0] INITVAL_23 = 320'd0;
    parameter [319:0] INITVAL_24 = 320'd0;
    parameter [319:0] INITVAL_25 = 320'd0;
    parameter [319:0] INITVAL_26 = 320'd0;
    parameter [319:0] INITVAL_27 = 320'd0;
    parameter [319:0] INITVAL_28 = 320'd0;
    parameter [319:0] INITVAL_29 = 320'd0;
    parameter [319:0] INITVAL_2A = 320'd0;
    parameter [319:0] INITVAL_2B = 320'd0;
    parameter [319:0] INITVAL_2C = 320'd0;
    parameter [319:0] INITVAL_2D = 320'd0;
    parameter [319:0] INITVAL_2E = 320'd0;
    parameter [319:0] INITVAL_2F = 320'd0;
    parameter [319:0] INITVAL_30 = 320'd0;
    parameter [319:0] INITVAL_31 = 320'd0;
    parameter [319:0] INITVAL_32 = 320'd0;
    parameter [319:0] INITVAL_33 = 320'd0;
    parameter [319:0] INITVAL_34 = 320'd0;
    parameter [319:0] INITVAL_35 = 320'd0;
    parameter [319:0] INITVAL_36 = 320'd0;
    parameter [319:0] INITVAL_37 = 320'd0;
    parameter [319:0] INITVAL_38 = 320'd0;
    parameter [319:0] INITVAL_39 = 320'd0;
    parameter [319:0] INITVAL_3A = 320'd0;
    parameter [319:0] INITVAL_3B = 320'd0;
    parameter [319:0] INITVAL_3C = 320'd0;
    parameter [319:0] INITVAL_3D = 320'd0;
    parameter [319:0] INITVAL_3E = 320'd0;
    parameter [319:0] INITVAL_3F = 320'd0;

    // Bit address -> place in `bits`: narrow widths leave every ninth bit unused.
    reg [17:0] rows [0:1023];
    wire clock_a = CLKAMUX == "INV" ? ~CLKA : CLKA;
    wire clock_b = CLKBMUX == "INV" ? ~CLKB : CLKB;
    wire [13:0] address_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1,
    ADA0};
    wire [13:0] address_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1,
    ADB0};
    wire [17:0] data_a = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
    DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [17:0] data_b = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
    DIB4, DIB3, DIB2, DIB1, DIB0};
    reg [17:0] out_a = 18'd0;
    reg [17:0] out_b = 18'd0;
    reg [17:0] wide_even = 18'd0;  // lower half of a 36-bit read
    integer i;
    reg [319:0] slice;
    initial begin
        for (i = 0; i < 1024; i = i + 1) begin
            case (i / 16)
                0: slice = INITVAL_00;
                1: slice = INITVAL_01;
                2: slice = INITVAL_02;
                3: slice = INITVAL_03;
                4: slice = INITVAL_04;
                5: slice = INITVAL_05;
                6: slice = INITVAL_06;
                7: slice = INITVAL_07;
                8: slice = INITVAL_08;
                9: slice = INITVAL_09;
                10: slice = INITVAL_0A;
                11: slice = INITVAL_0B;
                12: slice = INITVAL_0C;
                13: slice = INITVAL_0D;
                14: slice = INITVAL_0E;
                15: slice = INITVAL_0F;
                16: slice = INITVAL_10;
                17: slice = INITVAL_11;
                18: slice = INITVAL_12;
                19: slice = INITVAL_13;
                20: slice = INITVAL_14;
                21: slice = INITVAL_15;
                22: slice = INITVAL_16;
                23: slice = INITVAL_17;
                24: slice = INITVAL_18;
                25: slice = INITVAL_19;
                26: slice = INITVAL_1A;
                27: slice = INITVAL_1B;
                28: slice = INITVAL_1C;
                29: slice = INITVAL_1D;
                30: slice = INITVAL_1E;
                31: slice = INITVAL_1F;
                32: slice = INITVAL_20;
                33: slice = INITVAL_21;
                34: slice = INITVAL_22;
                35: slice = INITVAL_23;
                36: slice = INITVAL_24;
                37: slice = INITVAL_25;
                38: slice = INITVAL_26;
                39: slice = INITVAL_27;
                40: slice = INITVAL_28;
                41: slice = INITVAL_29;
                42: slice = INITVAL_2A;
                43: slice = INITVAL_2B;
                44: slice = INITVAL_2C;
                45: slice = INITVAL_2D;
                46: slice = INITVAL_2E;
                47: slice = INITVAL_2F;
                48: slice = INITVAL_30;
                49: slice = INITVAL_31;
                50: slice = INITVAL_32;
                51: slice = INITVAL_33;
                52: slice = INITVAL_34;
                53: slice = INITVAL_35;
                54: slice = INITVAL_36;
                55: slice = INITVAL_37;
                56: slice = INITVAL_38;
                57: slice = INITVAL_39;
                58: slice = INITVAL_3A;
                59: slice = INITVAL_3B;
                60: slice = INITVAL_3C;
                61: slice = INITVAL_3D;
                62: slice = INITVAL_3E;
                63: slice = INITVAL_3F;
                default: slice = 320'd0;
            endcase
            rows[i] = slice[20*(i % 16) +: 18];
        end
    end

    // Lowest bit of a word of 9, 4, 2 or 1 bits in its row.
    function [4:0] place(input [31:0] width, input [13:0] address);
        case (width)
            9: place = address[3] ? 5'd9 : 5'd0;
            4: place = (address[3] ? 5'd9 : 5'd0) + {2'b00, address[2], 2'b00};
            2: place = (address[3] ? 5'd9 : 5'd0) + {2'b00, address[2:1], 1'b0};
            1: place = (address[3] ? 5'd9 : 5'd0) + {2'b00, address[2:0]};
            default: place = 5'd0;
        endcase
    endfunction

    function [17:0] mask(input [31:0] width);
        mask = (18'd1 << width) - 18'd1;
    endfunction

    // Bits that a port of at most 18 bits writes: two byte enables at 18 (in the low address bits), else the word.
    function [17:0] written(input [31:0] width, input [13:0] address);
        written = width == 18 ? {{9{address[1]}}, {9{address[0]}}} : mask(width) << place(width, address);
    endfunction

    // 36 bits: writing, four byte enables; DIA is the even row. Reading, DOA is the even row.
    always @(posedge clock_a)
        if (CEA) begin
            if (DATA_WIDTH_A <= 18)
                out_a <= (rows[address_a[13:4]] >> place(DATA_WIDTH_A, address_a)) & (DATA_WIDTH_A == 18 ? 18'h3FFFF : mask(DATA_WIDTH_A));
            if (WEA)
                if (DATA_WIDTH_A <= 18)
                    rows[address_a[13:4]] <= (rows[address_a[13:4]] & ~written(DATA_WIDTH_A, address_a)) |
                        ((data_a << place(DATA_WIDTH_A, address_a)) & written(DATA_WIDTH_A, address_a));
                else begin
                    rows[{address_a[13:5], 1'b0}] <= (rows[{address_a[13:5], 1'b0}] & ~{{9{address_a[1]}}, {9{address_a[0]}}}) |
                        (data_a & {{9{address_a[1]}}, {9{address_a[0]}}});
                    rows[{address_a[13:5], 1'b1}] <= (rows[{address_a[13:5], 1'b1}] & ~{{9{address_a[3]}}, {9{address_a[2]}}}) |
                        (data_b & {{9{address_a[3]}}, {9{address_a[2]}}});
                end
        end

    always @(posedge clock_b)
        if (CEB) begin
            if (DATA_WIDTH_B <= 18)
                out_b <= (rows[address_b[13:4]] >> place(DATA_WIDTH_B, address_b)) & (DATA_WIDTH_B == 18 ? 18'h3FFFF : mask(DATA_WIDTH_B));
            else begin
                wide_even <= rows[{address_b[13:5], 1'b0}];
                out_b <= rows[{address_b[13:5], 1'b1}];
            end
            if (WEB)
                if (DATA_WIDTH_B <= 18)
                    rows[address_b[13:4]] <= (rows[address_b[13:4]] & ~written(DATA_WIDTH_B, address_b)) |
                        ((data_b << place(DATA_WIDTH_B, address_b)) & written(DATA_WIDTH_B, address_b));
        end


    wire wide = DATA_WIDTH_B == 36;
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
    DOA1, DOA0} = wide ? wide_even : out_a;
    // At 36 write / 18 read Yosys takes the data from DOB as well.
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
    DOB1, DOB0} = out_b;
    initial
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || DATA_WIDTH_B == 36 && WEB === 1'b1) begin
            $display("DP16KD: a mode that is not modelled");
            $finish;
        end
endmodule
