// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// ErrMalformed says that a blob is not the canonical encoding of a trie node
// (Yellow Paper, appendix D). If the blob has the wanted hash, the state root is not that of
// a state.
var ErrMalformed = errors.New("malformed trie node")

// StepKind says where a key leads from a node.
type StepKind uint8

const (
	// StepAbsent means: the trie has no value for the key.
	StepAbsent StepKind = iota
	// StepChild means: the key goes on in another node, known by its hash.
	StepChild
	// StepValue means: the key ends in this node.
	StepValue
)

// Step is where a key leads from a node.
type Step struct {
	Kind  StepKind
	Depth int         // StepChild: nibbles of the key that were consumed
	Hash  common.Hash // StepChild: the next node
	Value []byte      // StepValue: the value, a part of the blob
}

// Descend decodes blob and follows key, the nibbles that remain from this node on,
// through it and through the nodes embedded in it. The whole blob is checked; the
// error wraps [ErrMalformed].
func Descend(blob, key []byte) (Step, error) {
	var (
		n     element
		depth int
	)
	for {
		if err := n.decode(blob); err != nil {
			return Step{}, err
		}
		var (
			rest = key[depth:]
			next []byte
		)
		switch n.kind {
		case leaf:
			if bytes.Equal(n.path[:n.pathLen], rest) {
				return Step{Kind: StepValue, Value: n.value}, nil
			}
		case extension:
			if bytes.HasPrefix(rest, n.path[:n.pathLen]) {
				next = n.children[0]
				depth += n.pathLen
			}
		case branch:
			if len(rest) > 0 && rest[0] < 16 {
				next = n.children[rest[0]]
				depth++
			} else if len(rest) == 0 && len(n.value) > 0 {
				return Step{Kind: StepValue, Value: n.value}, nil
			}
		}
		switch len(next) {
		case 0:
			return Step{}, nil
		case common.HashLength:
			return Step{Kind: StepChild, Depth: depth, Hash: common.Hash(next)}, nil
		}
		blob = next // embedded: go on inside
	}
}

// Child is one thing that a node refers to: a child node by its hash, or a value.
type Child struct {
	Path  []byte      // nibbles from the node
	Hash  common.Hash // of the child node; zero for a value
	Value []byte      // nil for a child node; a part of the blob
}

// Children decodes blob and returns everything that it refers to, in key order,
// looking through embedded nodes. The error wraps [ErrMalformed].
func Children(blob []byte) ([]Child, error) {
	return children(nil, nil, blob)
}

func children(found []Child, path, blob []byte) ([]Child, error) {
	var n element
	if err := n.decode(blob); err != nil {
		return nil, err
	}
	path = append(path[:len(path):len(path)], n.path[:n.pathLen]...)
	if len(n.value) > 0 {
		found = append(found, Child{Path: path, Value: n.value})
	}
	for i, ref := range n.children {
		at := path
		if n.kind == branch {
			at = append(path[:len(path):len(path)], byte(i))
		}
		switch len(ref) {
		case 0:
		case common.HashLength:
			found = append(found, Child{Path: at, Hash: common.Hash(ref)})
		default:
			var err error
			if found, err = children(found, at, ref); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

type elementKind uint8

const (
	branch elementKind = iota
	extension
	leaf
)

// element is one decoded node; its slices are parts of the blob.
type element struct {
	kind    elementKind
	path    [KeyLen]byte // of a leaf or extension
	pathLen int
	value   []byte // of a leaf; of a branch, if a key ends there

	// children are references: of a branch 16, of an extension the first. Nothing is
	// empty, 32 bytes are a hash, less is the encoding of an embedded node.
	children [16][]byte
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// decode reads blob, all of it, and checks the nodes embedded in it as well.
func (n *element) decode(blob []byte) error {
	*n = element{}
	list, rest, err := rlp.SplitList(blob)
	if err != nil {
		return malformed("%v", err)
	}
	if len(rest) > 0 {
		return malformed("%d bytes after the node", len(rest))
	}
	switch count, err := rlp.CountValues(list); {
	case err != nil:
		return malformed("%v", err)
	case count == 2:
		return n.decodeShort(list)
	case count == 17:
		return n.decodeBranch(list)
	default:
		return malformed("%d elements", count)
	}
}

func (n *element) decodeShort(list []byte) error {
	compact, rest, err := rlp.SplitString(list)
	if err != nil {
		return malformed("path: %v", err)
	}
	var isLeaf, ok bool
	if n.pathLen, isLeaf, ok = decodePath(compact, &n.path); !ok {
		return malformed("path %x", compact)
	}
	if isLeaf {
		n.kind = leaf
		if n.value, _, err = rlp.SplitString(rest); err != nil {
			return malformed("value: %v", err)
		}
		if len(n.value) == 0 {
			return malformed("empty value")
		}
		return nil
	}
	n.kind = extension
	if n.children[0], _, err = decodeReference(rest); err != nil {
		return err
	}
	if n.pathLen == 0 || len(n.children[0]) == 0 {
		return malformed("extension of nothing")
	}
	return nil
}

func (n *element) decodeBranch(list []byte) (err error) {
	n.kind = branch
	for i := range n.children {
		if n.children[i], list, err = decodeReference(list); err != nil {
			return err
		}
	}
	if n.value, _, err = rlp.SplitString(list); err != nil {
		return malformed("branch value: %v", err)
	}
	return nil
}

// decodeReference reads one reference to a child. Embedded nodes are shorter than
// a hash, and each one inside another is shorter still: that bounds the recursion.
func decodeReference(buf []byte) (ref, rest []byte, err error) {
	kind, content, rest, err := rlp.Split(buf)
	if err != nil {
		return nil, nil, malformed("reference: %v", err)
	}
	if kind != rlp.List {
		if len(content) != 0 && len(content) != common.HashLength {
			return nil, nil, malformed("reference of %d bytes", len(content))
		}
		return content, rest, nil
	}
	encoded := buf[:len(buf)-len(rest)]
	if len(encoded) >= common.HashLength {
		return nil, nil, malformed("embedded node of %d bytes", len(encoded))
	}
	var embedded element
	if err := embedded.decode(encoded); err != nil {
		return nil, nil, err
	}
	return encoded, rest, nil
}
