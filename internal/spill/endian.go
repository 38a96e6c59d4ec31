//go:build armbe || arm64be || m68k || mips || mips64 || mips64p32 || ppc || ppc64 || s390 || s390x || shbe || sparc || sparc64

package spill

// Tables hold keys as they stand in memory, put together from numbers that were read with their first byte lowest.
var _ = thisPackageNeedsALittleEndianProcessor
