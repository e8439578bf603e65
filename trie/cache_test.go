// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// memory is a Local on maps that counts reads.
type memory struct {
	nodes, codes map[common.Hash][]byte
	reads        int
	err          error
}

func newMemory() *memory {
	return &memory{nodes: make(map[common.Hash][]byte), codes: make(map[common.Hash][]byte)}
}

func (m *memory) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	m.reads++
	return m.nodes[hash], m.err
}

func (m *memory) Code(hash common.Hash) ([]byte, error) {
	m.reads++
	return m.codes[hash], m.err
}

func (m *memory) PutNodes(nodes []Node) error {
	for _, n := range nodes {
		m.nodes[n.Hash] = n.Blob
	}
	return m.err
}

func (m *memory) PutCode(hash common.Hash, code []byte) error {
	m.codes[hash] = code
	return m.err
}

func blobOf(i int) (common.Hash, []byte) {
	blob := binary.BigEndian.AppendUint64(make([]byte, 300), uint64(i))
	return crypto.Keccak256Hash(blob), blob
}

func TestCache(t *testing.T) {
	disk := newMemory()
	c := NewCache(1<<20, disk)
	hash, blob := blobOf(1)
	if got, err := c.Node(common.Hash{}, nil, hash); got != nil || err != nil {
		t.Fatalf("a miss: %x, %v", got, err)
	}
	if err := errors.Join(c.PutNodes([]Node{{Hash: hash, Blob: blob}}), c.PutCode(hash, blob)); err != nil {
		t.Fatal(err)
	}
	reads := disk.reads
	if got, err := c.Node(common.Hash{}, nil, hash); string(got) != string(blob) || err != nil || disk.reads != reads {
		t.Errorf("from memory: %v", err)
	}
	if disk.nodes[hash] == nil || disk.codes[hash] == nil {
		t.Error("not written through")
	}
	// A second cache over the same disk reads it once, and does not believe it blindly.
	c = NewCache(1<<20, disk)
	for range 3 {
		n, err1 := c.Node(common.Hash{}, nil, hash)
		code, err2 := c.Code(hash)
		if string(n) != string(blob) || string(code) != string(blob) || err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
	}
	if disk.reads != reads+2 {
		t.Errorf("%d reads", disk.reads-reads)
	}
	corrupt, _ := blobOf(2)
	disk.nodes[corrupt], disk.codes[corrupt] = blob, blob
	n, err1 := c.Node(common.Hash{}, nil, corrupt)
	code, err2 := c.Code(corrupt)
	if n != nil || code != nil || err1 != nil || err2 != nil {
		t.Error("a corrupt blob is not a miss")
	}
	disk.err = errors.New("disk")
	if _, err := c.Node(common.Hash{}, nil, common.Hash{1}); !errors.Is(err, disk.err) {
		t.Error(err)
	}
	if err := c.PutNodes(nil); !errors.Is(err, disk.err) {
		t.Error(err)
	}
}

// TestCacheBound fills a cache far beyond its size, from several goroutines.
func TestCacheBound(t *testing.T) {
	const maxBytes = 1 << 20
	c := NewCache(maxBytes, nil)
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 4000 {
				hash, blob := blobOf(i*4 + g)
				_ = c.PutNodes([]Node{{Hash: hash, Blob: blob}})
				_ = c.PutCode(hash, blob)
				if got, err := c.Node(common.Hash{}, nil, hash); err != nil || got != nil && string(got) != string(blob) {
					t.Errorf("wrong blob: %v", err)
				}
			}
		})
	}
	group.Wait()
	size := int(c.codes.Size())
	for _, shard := range c.nodes {
		size += int(shard.Size())
	}
	if size > maxBytes || size < maxBytes/2 {
		t.Errorf("%d bytes of %d", size, maxBytes)
	}
	if hash, blob := blobOf(3999*4 + 3); len(blob) > 0 {
		if got, _ := NewCache(0, nil).Node(common.Hash{}, nil, hash); got != nil {
			t.Error("an empty cache has something")
		}
	}
}

// TestWithoutFill: who only passes by reads what is true, and leaves the memory as it was.
func TestWithoutFill(t *testing.T) {
	disk, other := newMemory(), newMemory()
	c := NewCache(1<<20, disk)
	kept, blob := blobOf(1)
	passed, passedBlob := blobOf(2)
	corrupt, _ := blobOf(3)
	if err := c.PutNodes([]Node{{Hash: kept, Blob: blob}}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		store Store
		below *memory
	}{"cache": {c, disk}, "cache over another store": {c.Over(other), other}} {
		test.below.nodes[passed], test.below.nodes[corrupt], test.below.codes[passed] = passedBlob, passedBlob, passedBlob
		p := WithoutFill(test.store)
		test.below.reads = 0
		for hash, want := range map[common.Hash][]byte{kept: blob, passed: passedBlob, corrupt: nil} {
			for range 2 {
				if got, err := p.Node(common.Hash{}, nil, hash); err != nil || string(got) != string(want) {
					t.Errorf("%s: %x, %v, want %x", name, got, err, want)
				}
			}
		}
		if code, err := p.Code(passed); err != nil || string(code) != string(passedBlob) {
			t.Errorf("%s: code %x, %v", name, code, err)
		}
		if test.below.reads != 5 { // all but what the memory has
			t.Errorf("%s: %d reads", name, test.below.reads)
		}
	}
	if WithoutFill(disk) != Store(disk) {
		t.Error("a store without memory is not the same")
	}
}
