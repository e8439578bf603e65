// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import "bytes"

// placeholder is the end of every placeholder value. It is large enough for a balance, small enough
// (2^89) to be multiplied without overflow, and recognizable in a key that contains it.
var placeholder = [12]byte{0x02, 0x5e, 0xed, 0xfe, 0xed, 0x5e, 0xed, 0xfe, 0xed, 0x5e, 0xed, 0xfe} //nolint:gochecknoglobals // a constant

// isPlaceholder reports whether an address, a slot or a word is a placeholder value.
func isPlaceholder(b []byte) bool { return bytes.HasSuffix(b, placeholder[:]) }
