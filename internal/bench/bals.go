// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// BALsOptions says which lists to plan for, and what to assume where the lists do not tell.
type BALsOptions struct {
	Dir          string
	AccountDepth int   // nodes on the way to an account
	StorageDepth int   // nodes on the way to a slot
	NodeBytes    int   // mean size of a node
	Peers        []int // how many peers share the work, a plan for each
	JSON         bool
}

// BALPlan is what fetching all that a block access list names takes.
type BALPlan struct {
	Number   uint64    `json:"number"`
	Accounts int       `json:"accounts"`
	Slots    int       `json:"slots"`
	Paths    int       `json:"paths"` // different ones to ask for, one below the assumed depths included
	Nodes    int       `json:"nodes"` // different ones to come, at the assumed depths
	Bytes    int       `json:"bytes"` // of these nodes; codes are not in it
	Shared   []BALTrip `json:"shared"`

	AccountsSeen int `json:"accountsSeen"` // that are in a list before, too
	SlotsSeen    int `json:"slotsSeen"`
}

// BALTrip is that work shared by some peers.
type BALTrip struct {
	Peers    int     `json:"peers"`
	Requests int     `json:"requests"`
	Most     int     `json:"mostBytes"` // that come from one peer
	Seconds  float64 `json:"seconds"`
}

// BALs prints the plan of every access list in a directory, named NUMBER_*.rlp.
func BALs(ctx context.Context, opts BALsOptions, out io.Writer) error {
	if min(opts.AccountDepth, opts.StorageDepth, opts.NodeBytes) < 1 || max(opts.AccountDepth, opts.StorageDepth) > 62 {
		return fmt.Errorf("account depth %d, storage depth %d, %d bytes a node: depths are 1 to 62, sizes at least 1",
			opts.AccountDepth, opts.StorageDepth, opts.NodeBytes)
	}
	if len(opts.Peers) == 0 || slices.Min(opts.Peers) < 1 {
		return fmt.Errorf("numbers of peers %v: at least 1", opts.Peers)
	}
	paths, err := filepath.Glob(filepath.Join(opts.Dir, "*.rlp"))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("no access lists (*.rlp) in %s", opts.Dir)
	}
	var (
		plans []*BALPlan
		seen  = make(map[slotKey]bool)
	)
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		plan, err := planFile(path, opts, seen)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		plans = append(plans, plan)
		if opts.JSON {
			if err := json.NewEncoder(out).Encode(plan); err != nil {
				return err
			}
		}
	}
	if opts.JSON {
		return nil
	}
	return writePlans(out, plans, opts)
}

// slotKey is a slot of an account; with Account set, the account itself.
type slotKey struct {
	addr    common.Address
	slot    common.Hash
	account bool
}

func planFile(path string, opts BALsOptions, seen map[slotKey]bool) (*BALPlan, error) {
	number, _, _ := strings.Cut(filepath.Base(path), "_")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return nil, errors.New("the name does not begin with a block number and _")
	}
	encoded, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := decodeBAL(encoded)
	if err != nil {
		return nil, err
	}
	plan := planBAL(list, opts)
	plan.Number = n
	for _, account := range list {
		if key := (slotKey{addr: account.addr, account: true}); seen[key] {
			plan.AccountsSeen++
		} else {
			seen[key] = true
		}
		for _, slot := range account.slots {
			if key := (slotKey{addr: account.addr, slot: slot}); seen[key] {
				plan.SlotsSeen++
			} else {
				seen[key] = true
			}
		}
	}
	return plan, nil
}

// balAccount is what an access list says of one account, as far as fetching is concerned.
type balAccount struct {
	addr  common.Address
	slots []common.Hash // written or read
}

// decodeBAL reads the keys of an access list (EIP-7928), old or new: an account is a list of the
// address, changes to slots, reads of slots, and more; a change begins with its slot. Slots
// may be 32 bytes, as in 2025, or integers, as now.
func decodeBAL(encoded []byte) ([]balAccount, error) {
	var raw [][]rlp.RawValue
	if err := rlp.DecodeBytes(encoded, &raw); err != nil {
		return nil, fmt.Errorf("not a list of accounts: %w", err)
	}
	list := make([]balAccount, len(raw))
	for i, fields := range raw {
		if len(fields) < 3 {
			return nil, fmt.Errorf("account %d has %d fields, 3 or more are expected", i, len(fields))
		}
		var (
			changes [][]rlp.RawValue
			reads   [][]byte
		)
		if err := rlp.DecodeBytes(fields[0], &list[i].addr); err != nil {
			return nil, fmt.Errorf("account %d: address: %w", i, err)
		}
		if err := rlp.DecodeBytes(fields[1], &changes); err != nil {
			return nil, fmt.Errorf("account %d: changes: %w", i, err)
		}
		if err := rlp.DecodeBytes(fields[2], &reads); err != nil {
			return nil, fmt.Errorf("account %d: reads: %w", i, err)
		}
		for _, change := range changes {
			var slot []byte
			if len(change) == 0 {
				return nil, fmt.Errorf("account %d: a change of no slot", i)
			}
			if err := rlp.DecodeBytes(change[0], &slot); err != nil {
				return nil, fmt.Errorf("account %d: changed slot: %w", i, err)
			}
			reads = append(reads, slot)
		}
		for _, slot := range reads {
			if len(slot) > common.HashLength {
				return nil, fmt.Errorf("account %d: a slot of %d bytes", i, len(slot))
			}
			list[i].slots = append(list[i].slots, common.BytesToHash(slot))
		}
	}
	return list, nil
}

// planBAL counts, and lets the scheduler share it out.
func planBAL(list []balAccount, opts BALsOptions) *BALPlan {
	var (
		plan     = &BALPlan{Accounts: len(list)}
		accounts [][]byte
		costs    [2][]int // of wants: accounts, which go first, then slots
	)
	count := func(keys [][]byte, depth, extra int) (costs []int) {
		slices.SortFunc(keys, bytes.Compare) // as the fetcher sorts them
		for i, key := range keys {
			shared := -1 // of the prefixes, the empty one is shared by those of one trie
			if i > 0 {
				for shared = 0; shared < depth && key[shared] == keys[i-1][shared]; {
					shared++
				}
			}
			plan.Paths += depth - shared
			plan.Nodes += max(depth-1-shared, 1)
			cost := depth - shared
			if i == 0 {
				cost += extra
			}
			costs = append(costs, max(cost, 1))
		}
		return costs
	}
	for _, account := range list {
		accounts = append(accounts, trie.Nibbles(crypto.Keccak256Hash(account.addr[:])))
	}
	costs[0] = count(accounts, opts.AccountDepth, 0)
	for _, account := range list {
		var keys [][]byte
		for _, slot := range account.slots {
			keys = append(keys, trie.Nibbles(crypto.Keccak256Hash(slot[:])))
		}
		plan.Slots += len(keys)
		costs[1] = append(costs[1], count(keys, opts.StorageDepth, storageSetCost)...)
	}
	plan.Bytes = plan.Nodes * opts.NodeBytes
	for _, peers := range opts.Peers {
		plan.Shared = append(plan.Shared, share(costs[:], peers, plan.Bytes))
	}
	return plan
}

func writePlans(out io.Writer, plans []*BALPlan, opts BALsOptions) error {
	var text strings.Builder
	fmt.Fprintf(&text, "from the lists: accounts and slots; paths are different prefixes of their hashed keys\n"+
		"assumed: %d nodes to an account, %d to a slot, %d bytes a node, codes not counted; peers at %v,\n"+
		"which take %v for a request, one after another; accounts are asked for first, slots when these are here;\n"+
		"seen: in one of the lists before, which a node that follows holds\n",
		opts.AccountDepth, opts.StorageDepth, opts.NodeBytes, balRTT, balService)
	fmt.Fprintf(&text, "%9s %8s %6s %6s %6s %7s %7s %9s", "block", "accounts", "seen %", "slots", "seen %", "paths", "nodes", "bytes")
	for _, peers := range opts.Peers {
		fmt.Fprintf(&text, "  |%3d peers: requests  most from one    s", peers)
	}
	text.WriteString("\n")
	var mean BALPlan
	mean.Shared = make([]BALTrip, len(opts.Peers))
	row := func(name string, p *BALPlan, n int) {
		fmt.Fprintf(&text, "%9s %8d %6d %6d %6d %7d %7d %9d", name, p.Accounts/n, 100*p.AccountsSeen/max(p.Accounts, 1),
			p.Slots/n, 100*p.SlotsSeen/max(p.Slots, 1), p.Paths/n, p.Nodes/n, p.Bytes/n)
		for _, at := range p.Shared {
			fmt.Fprintf(&text, "  | %18d %14d %5.2f", at.Requests/n, at.Most/n, at.Seconds/float64(n))
		}
		text.WriteString("\n")
	}
	for _, p := range plans {
		row(strconv.FormatUint(p.Number, 10), p, 1)
		mean.Accounts += p.Accounts
		mean.Slots += p.Slots
		mean.AccountsSeen += p.AccountsSeen
		mean.SlotsSeen += p.SlotsSeen
		mean.Paths += p.Paths
		mean.Nodes += p.Nodes
		mean.Bytes += p.Bytes
		for i, at := range p.Shared {
			mean.Shared[i].Requests += at.Requests
			mean.Shared[i].Most += at.Most
			mean.Shared[i].Seconds += at.Seconds
		}
	}
	row("mean", &mean, len(plans))
	_, err := io.WriteString(out, text.String())
	return err
}
