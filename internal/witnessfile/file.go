// SPDX-License-Identifier: LGPL-3.0-or-later

package witnessfile

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
)

// File is one block with its witness. It is read-only and safe for concurrent use.
type File struct {
	ChainID uint64
	Number  uint64
	Hash    common.Hash
	Block   *types.Block
	Config  *params.ChainConfig

	// PreRoot is the state root that the block executes on.
	PreRoot common.Hash
	// Parent is the parent's header. If HasParent is false the file lacks it, and Parent is a stand-in
	// with the right number and state root only: its hash is not the block's ParentHash.
	Parent    *types.Header
	HasParent bool
	// Headers are the ancestors in the file, starting with the parent if the file has it.
	Headers []*types.Header

	Nodes map[common.Hash][]byte // trie nodes by keccak256
	Codes map[common.Hash][]byte // codes by keccak256

	headers map[common.Hash]*types.Header
}

// fileJSON is the file format. A file has headers (the parent first), or preRoot and optional ancestors.
// The order of state and codes has no meaning.
type fileJSON struct {
	ChainID   uint64              `json:"chainId"`
	Number    uint64              `json:"number"`
	Hash      common.Hash         `json:"hash"`
	Block     hexutil.Bytes       `json:"block"`
	Headers   []hexutil.Bytes     `json:"headers"`
	Ancestors []hexutil.Bytes     `json:"ancestors"`
	PreRoot   *common.Hash        `json:"preRoot"`
	Codes     []hexutil.Bytes     `json:"codes"`
	State     []hexutil.Bytes     `json:"state"`
	Config    *params.ChainConfig `json:"config"`
}

// Paths returns the witness files in dir, sorted by name.
func Paths(dir string) ([]string, error) {
	var paths []string
	for _, pattern := range []string{"*.json.gz", "*.json"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		paths = append(paths, found...)
	}
	slices.Sort(paths)
	return paths, nil
}

// Load reads a witness file, gzipped if its name ends in .gz. Its errors name the file and the cause.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		unzipped, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		defer unzipped.Close()
		in = unzipped
	}
	file, err := Read(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// Read parses a witness file, unzipped.
func Read(in io.Reader) (*File, error) {
	var raw fileJSON
	if err := json.NewDecoder(in).Decode(&raw); err != nil {
		return nil, err
	}
	file := &File{
		ChainID: raw.ChainID,
		Number:  raw.Number,
		Hash:    raw.Hash,
		Block:   new(types.Block),
		Nodes:   make(map[common.Hash][]byte, len(raw.State)),
		Codes:   make(map[common.Hash][]byte, len(raw.Codes)),
	}
	if err := rlp.DecodeBytes(raw.Block, file.Block); err != nil {
		return nil, fmt.Errorf("block: %w", err)
	}
	if file.Block.Hash() != raw.Hash {
		return nil, fmt.Errorf("block has hash %x, the file says %x", file.Block.Hash(), raw.Hash)
	}
	if file.Block.NumberU64() != raw.Number || raw.Number == 0 {
		return nil, fmt.Errorf("block has number %d, the file says %d", file.Block.NumberU64(), raw.Number)
	}
	var err error
	if file.Config, err = chainConfig(&raw); err != nil {
		return nil, err
	}
	for _, blob := range raw.State {
		file.Nodes[crypto.Keccak256Hash(blob)] = blob
	}
	for _, code := range raw.Codes {
		file.Codes[crypto.Keccak256Hash(code)] = code
	}
	if err := file.readHeaders(&raw); err != nil {
		return nil, err
	}
	return file, nil
}

func chainConfig(raw *fileJSON) (*params.ChainConfig, error) {
	if raw.Config != nil {
		return raw.Config, nil
	}
	for _, config := range []*params.ChainConfig{params.MainnetChainConfig, params.SepoliaChainConfig, params.HoodiChainConfig} {
		if config.ChainID.Uint64() == raw.ChainID {
			return config, nil
		}
	}
	return nil, fmt.Errorf("chain id %d is not a known network and the file has no config", raw.ChainID)
}

// readHeaders fills Headers, Parent and PreRoot.
func (f *File) readHeaders(raw *fileJSON) error {
	f.headers = make(map[common.Hash]*types.Header)
	for i, encoded := range append(raw.Headers, raw.Ancestors...) {
		header := new(types.Header)
		if err := rlp.DecodeBytes(encoded, header); err != nil {
			return fmt.Errorf("header %d: %w", i, err)
		}
		f.Headers = append(f.Headers, header)
		f.headers[header.Hash()] = header
	}
	if f.Parent = f.headers[f.Block.ParentHash()]; f.Parent != nil {
		f.HasParent = true
		f.PreRoot = f.Parent.Root
		if raw.PreRoot != nil && *raw.PreRoot != f.PreRoot {
			return fmt.Errorf("preRoot %x is not the parent's state root %x", *raw.PreRoot, f.PreRoot)
		}
		return nil
	}
	if raw.PreRoot == nil {
		return errors.New("neither the parent's header nor preRoot")
	}
	f.PreRoot = *raw.PreRoot
	f.Parent = &types.Header{
		Number:     new(big.Int).SetUint64(f.Number - 1),
		Root:       f.PreRoot,
		Difficulty: new(big.Int),
	}
	return nil
}
