//go:build !amd64

package jsoncodec

import "unsafe"

const hasClassify = false

func classify(unsafe.Pointer, int, *[blocksAtOnce]block) {}

func isPlain(unsafe.Pointer, int, int) bool { return false }
