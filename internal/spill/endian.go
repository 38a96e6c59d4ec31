//go:build armbe || arm64be || m68k || mips || mips64 || mips64p32 || ppc || ppc64 || s390 || s390x || shbe || sparc || sparc64

package spill

// Tables hold the bytes of keys as numbers that were read with the lowest byte first.
var _ = thisPackageNeedsALittleEndianProcessor
