// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

func TestNibbles(t *testing.T) {
	key := common.HexToHash("0x123456789abcdef0112233445566778899aabbccddeeff00fedcba9876543210")
	nibbles := Nibbles(key)
	if len(nibbles) != KeyLen || nibbles[0] != 1 || nibbles[15] != 0 || nibbles[63] != 0 || nibbles[62] != 1 {
		t.Errorf("nibbles %x", nibbles)
	}
}

func TestEncodePath(t *testing.T) {
	for path, want := range map[string]string{"": "00", "\x07": "17", "\x01\x02": "0012", "\x0a\x0b\x0c": "1abc"} {
		if got := EncodePath([]byte(path)); common.Bytes2Hex(got) != want {
			t.Errorf("path %x is encoded as %x, not %s", path, got, want)
		}
		if got, err := DecodePath(common.FromHex(want)); err != nil || string(got) != path {
			t.Errorf("%s is decoded as %x, %v, not %x", want, got, err, path)
		}
	}
	nibbles := Nibbles(common.HexToHash("0x123456789abcdef0112233445566778899aabbccddeeff00fedcba9876543210"))
	for n := range KeyLen + 1 {
		got, err := DecodePath(EncodePath(nibbles[:n]))
		if err != nil || !bytes.Equal(got, nibbles[:n]) {
			t.Errorf("%d nibbles are decoded as %x, %v", n, got, err)
		}
	}
}

func TestDecodePathMalformed(t *testing.T) {
	for what, compact := range map[string][]byte{
		"empty":                  {},
		"padding that is not 0":  {0x01},
		"terminator, even":       {0x20, 0x12},
		"terminator, odd":        {0x31},
		"flag 4":                 {0x40},
		"flag 15":                {0xf0},
		"odd, one nibble longer": append([]byte{0x11}, make([]byte, KeyLen/2)...),
		"two nibbles longer":     make([]byte, KeyLen/2+2),
	} {
		if path, err := DecodePath(compact); !errors.Is(err, ErrMalformedPath) {
			t.Errorf("%s: %x is decoded as %x, %v", what, compact, path, err)
		}
	}
}
