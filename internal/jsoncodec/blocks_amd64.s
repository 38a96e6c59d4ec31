#include "textflag.h"

// Each constant is one byte, which fills a register.
DATA bytes<>+0(SB)/8, $"\"\\\x1f {},:"
GLOBL bytes<>(SB), RODATA|NOPTR, $8

// MASK stores the bits of the bytes of X and Y whose highest bit is set.
#define MASK(X, Y, field) \
	VPMOVMSKB X, AX \
	VPMOVMSKB Y, BX \
	SHLQ $32, BX \
	ORQ BX, AX \
	MOVQ AX, field(DI)

// EQUAL stores the bits of the bytes of Y0 and Y1 that are those of C.
#define EQUAL(C, field) \
	VPCMPEQB Y0, C, Y2 \
	VPCMPEQB Y1, C, Y3 \
	MASK(Y2, Y3, field)

// func classify(p unsafe.Pointer, n int, out *[blocksAtOnce]block)
TEXT ·classify(SB), NOSPLIT, $0-24
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	MOVQ out+16(FP), DI
	VPBROADCASTB bytes<>+0(SB), Y6
	VPBROADCASTB bytes<>+1(SB), Y7
	VPBROADCASTB bytes<>+2(SB), Y8
	VPBROADCASTB bytes<>+3(SB), Y9
	VPBROADCASTB bytes<>+4(SB), Y10
	VPBROADCASTB bytes<>+5(SB), Y11
	VPBROADCASTB bytes<>+6(SB), Y12
	VPBROADCASTB bytes<>+7(SB), Y13

next:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	EQUAL(Y6, 0)   // quotes
	EQUAL(Y7, 8)   // backslashes
	EQUAL(Y9, 24)  // blanks
	EQUAL(Y12, 48) // commas
	EQUAL(Y13, 56) // colons

	// control characters are those that are the least of themselves and 0x1f
	VPMINUB Y0, Y8, Y2
	VPMINUB Y1, Y8, Y3
	VPCMPEQB Y0, Y2, Y2
	VPCMPEQB Y1, Y3, Y3
	MASK(Y2, Y3, 16)

	// bit 5 differs between brackets and braces
	VPSLLD $2, Y0, Y2
	VPSLLD $2, Y1, Y3
	MASK(Y2, Y3, 64)
	VPOR Y0, Y9, Y0
	VPOR Y1, Y9, Y1
	EQUAL(Y10, 32) // opening ones
	EQUAL(Y11, 40) // closing ones

	ADDQ $64, SI
	ADDQ $72, DI
	DECQ CX
	JNZ next
	VZEROUPPER
	RET

// BITS sets the bits of dst for the bytes of Y0 and Y1 that are those of C.
#define BITS(C, dst) \
	VPCMPEQB Y0, C, Y2 \
	VPCMPEQB Y1, C, Y3 \
	VPMOVMSKB Y2, dst \
	VPMOVMSKB Y3, BX \
	SHLQ $32, BX \
	ORQ BX, dst

// func isPlain(p unsafe.Pointer, n, depth int) bool
//
// It follows isWhole. R8 is inString, R9 to R12 are the carries afterValue, afterSeparator,
// keyCarry and afterKey, and R13 is the depth.
TEXT ·isPlain(SB), NOSPLIT, $8-25
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	MOVQ depth+16(FP), R13
	MOVQ R13, R9
	XORL R8, R8
	XORL R10, R10
	XORL R11, R11
	XORL R12, R12
	VPBROADCASTB bytes<>+0(SB), Y6
	VPBROADCASTB bytes<>+1(SB), Y7
	VPBROADCASTB bytes<>+2(SB), Y8
	VPBROADCASTB bytes<>+4(SB), Y10
	VPBROADCASTB bytes<>+5(SB), Y11
	VPBROADCASTB bytes<>+6(SB), Y12
	VPBROADCASTB bytes<>+7(SB), Y13
	VPCMPEQB Y14, Y14, Y14

next:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	MOVQ $64, DI
	CMPQ CX, DI
	CMOVQLT CX, DI // the bytes of the block

	// neither backslashes nor control characters
	VPMINUB Y0, Y8, Y2
	VPMINUB Y1, Y8, Y3
	VPCMPEQB Y0, Y2, Y2
	VPCMPEQB Y1, Y3, Y3
	VPCMPEQB Y0, Y7, Y4
	VPCMPEQB Y1, Y7, Y5
	VPOR Y2, Y4, Y2
	VPOR Y3, Y5, Y3
	VPMOVMSKB Y2, AX
	VPMOVMSKB Y3, BX
	SHLQ $32, BX
	ORQ BX, AX
	BZHIQ DI, AX, AX
	JNZ no

	// R15 are the quotes, AX the bytes in strings, DX the bytes outside
	BITS(Y6, R15)
	BZHIQ DI, R15, R15
	VMOVQ R15, X2
	VPCLMULQDQ $0, X14, X2, X2
	VMOVQ X2, AX
	XORQ R8, AX
	MOVQ AX, R8
	SARQ $63, R8
	MOVQ AX, DX
	ORQ R15, DX
	NOTQ DX
	BZHIQ DI, DX, DX

	// keys follow commas (DI) and opening braces
	BITS(Y12, DI)
	ANDQ DX, DI
	BITS(Y10, R14)
	ANDQ DX, R14
	MOVQ R14, opens-8(SP)
	MOVQ DI, BX
	ORQ R14, BX
	XORQ BX, DX
	LEAQ (R10)(BX*2), R14
	SHRQ $63, BX
	MOVQ BX, R10
	MOVQ R15, BX
	ANDQ AX, BX
	ANDNQ R14, BX, BX
	JNZ no

	// colons (R14) follow keys
	ORQ R11, R14
	ADDQ AX, R14
	SBBQ R11, R11
	NEGQ R11
	ANDNQ R15, AX, R15 // the ends of strings
	ANDQ R15, R14
	LEAQ (R12)(R14*2), AX
	SHRQ $63, R14
	MOVQ R14, R12
	BITS(Y13, R14)
	ANDQ DX, R14
	CMPQ AX, R14
	JNE no
	XORQ R14, DX

	// all else outside of strings are closing braces (AX)
	BITS(Y11, AX)
	ANDQ DX, AX
	CMPQ AX, DX
	JNE no

	// commas, colons and closing braces follow values and keys, and nothing else does
	ORQ R14, DI
	ORQ AX, DI
	ORQ AX, R15
	LEAQ (R9)(R15*2), R14
	SHRQ $63, R15
	MOVQ R15, R9
	MOVQ $64, BX
	CMPQ CX, BX
	CMOVQLT CX, BX
	BZHIQ BX, R14, R14
	CMPQ R14, DI
	JNE no

	// the object ends with the last byte only
	MOVQ opens-8(SP), DX
	TESTQ AX, AX
	JZ deeper

close:
	BLSMSKQ AX, BX
	ANDQ DX, BX
	XORQ BX, DX
	POPCNTQ BX, BX
	LEAQ -1(R13)(BX*1), R13
	BLSRQ AX, AX
	JZ closed
	TESTQ R13, R13
	JG close
	JMP no

closed:
	TESTQ R13, R13
	JG deeper
	CMPQ CX, $64
	JGT no

deeper:
	POPCNTQ DX, DX
	ADDQ DX, R13
	ADDQ $64, SI
	SUBQ $64, CX
	JG next
	ORQ R8, R13
	JNZ no
	MOVB $1, ret+24(FP)
	VZEROUPPER
	RET

no:
	MOVB $0, ret+24(FP)
	VZEROUPPER
	RET
