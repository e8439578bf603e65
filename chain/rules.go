// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// rules returns go-ethereum's rules for headers of proof of stake and of proof of work, distinguished by
// difficulty. The proof of work itself is not verified: the blocks after the merge commit to those before.
func rules() *beacon.Beacon { return beacon.New(ethash.NewFaker()) }

// VerifyHeader checks a header against its parent: go-ethereum's rules of proof of stake
// (which, per Engine API, do not mind a timestamp in the future) for difficulty zero, those
// of ethash without the seal otherwise. Beyond what that engine checks, a requests hash must
// be there from Prague on and not before (EIP-7685), and no proof-of-work block may follow
// when the terminal total difficulty is zero (EIP-3675).
func VerifyHeader(config *params.ChainConfig, header, parent *types.Header) error {
	if err := checkShape(config, header); err != nil {
		return err
	}
	if err := checkShape(config, parent); err != nil {
		return fmt.Errorf("parent: %w", err)
	}
	parentHash := parent.Hash()
	if header.ParentHash != parentHash {
		return fmt.Errorf("parent hash is %x, want %x", header.ParentHash, parentHash)
	}
	if number := parent.Number.Uint64() + 1; header.Number.Uint64() != number {
		return fmt.Errorf("%w: have %d, want %d", consensus.ErrInvalidNumber, header.Number, number)
	}
	if err := checkTerminal(config, header); err != nil {
		return err
	}
	return rules().VerifyHeader(parentReader{config: config, parent: parent, hash: parentHash}, header)
}

// checkTerminal refuses proof-of-work blocks where there are none.
func checkTerminal(config *params.ChainConfig, header *types.Header) error {
	if ttd := config.TerminalTotalDifficulty; header.Difficulty.Sign() > 0 && ttd != nil && ttd.Sign() == 0 {
		return fmt.Errorf("%w: difficulty %d after the merge", consensus.ErrInvalidTerminalBlock, header.Difficulty)
	}
	return nil
}

// checkShape checks the fields that the rules and the execution assume to be set.
func checkShape(config *params.ChainConfig, header *types.Header) error {
	switch {
	case header == nil:
		return errors.New("no header")
	case header.Number == nil || header.Number.Sign() < 0:
		return errors.New("no block number")
	case header.Difficulty == nil || header.Difficulty.Sign() < 0:
		return errors.New("no difficulty")
	case header.BaseFee != nil && header.BaseFee.Sign() < 0:
		return errors.New("negative base fee")
	}
	if err := header.SanityCheck(); err != nil {
		return err
	}
	if config.IsLondon(header.Number) && header.BaseFee == nil {
		return errors.New("header is missing baseFee")
	}
	if config.IsCancun(header.Number, header.Time) && header.Difficulty.Sign() == 0 {
		if header.ExcessBlobGas == nil {
			return errors.New("header is missing excessBlobGas")
		}
		if header.BlobGasUsed == nil {
			return errors.New("header is missing blobGasUsed")
		}
	}
	if (header.ExcessBlobGas == nil) != (header.BlobGasUsed == nil) {
		return errors.New("only one of excessBlobGas and blobGasUsed is set")
	}
	switch prague := config.IsPrague(header.Number, header.Time); {
	case prague && header.RequestsHash == nil:
		return errors.New("header is missing requestsHash")
	case !prague && header.RequestsHash != nil:
		return fmt.Errorf("invalid requestsHash: have %x, expected nil", *header.RequestsHash)
	}
	return nil
}

// VerifyHeaderAlone checks the rules of a header that need no parent: they are some of those of [VerifyHeader].
func VerifyHeaderAlone(config *params.ChainConfig, header *types.Header) error {
	if err := checkShape(config, header); err != nil {
		return err
	}
	if header.Difficulty.Sign() != 0 {
		return checkTerminal(config, header)
	}
	switch {
	case uint64(len(header.Extra)) > params.MaximumExtraDataSize:
		return fmt.Errorf("extra-data longer than %d bytes (%d)", params.MaximumExtraDataSize, len(header.Extra))
	case header.GasLimit > params.MaxGasLimit:
		return fmt.Errorf("invalid gasLimit: have %v, max %v", header.GasLimit, uint64(params.MaxGasLimit))
	case header.GasLimit < params.MinGasLimit:
		return fmt.Errorf("invalid gas limit below %d", uint64(params.MinGasLimit))
	case header.GasUsed > header.GasLimit:
		return fmt.Errorf("invalid gasUsed: have %d, gasLimit %d", header.GasUsed, header.GasLimit)
	case header.BlobGasUsed != nil && *header.BlobGasUsed > eip4844.MaxBlobGasPerBlock(config, header.Time):
		return fmt.Errorf("blob gas used %d exceeds maximum allowance %d", *header.BlobGasUsed, eip4844.MaxBlobGasPerBlock(config, header.Time))
	}
	return nil
}

// ErrBodyMismatch says that a body is not the one that its header commits to. The delivery is invalid,
// not the block: the right body has the same block hash.
var ErrBodyMismatch = errors.New("body does not belong to the header")

// VerifyBody checks a body against its header, and what can be known about it without
// executing it: the rules of go-ethereum's core.BlockValidator.ValidateBody, which needs a
// BlockChain to say it. The uncles of a proof-of-work block are compared by hash and number
// only; see [Chain.VerifyUncles]. Whether this is the header's body at all comes first
// ([ErrBodyMismatch]); every other error makes the block invalid.
func VerifyBody(config *params.ChainConfig, block *types.Block) error {
	if err := verifyCommitments(block); err != nil {
		return fmt.Errorf("%w: %w", ErrBodyMismatch, err)
	}
	header := block.Header()
	if config.IsOsaka(header.Number, header.Time) && block.Size() > params.MaxBlockSize {
		return fmt.Errorf("%w: %d bytes, at most %d (EIP-7934)", core.ErrBlockOversized, block.Size(), params.MaxBlockSize)
	}
	if uncles := len(block.Uncles()); uncles > 2 || uncles > 0 && header.Difficulty.Sign() == 0 {
		return fmt.Errorf("too many uncles: %d", uncles)
	}
	if err := verifyBlobs(block); err != nil {
		return err
	}
	return verifyAccessList(config, block)
}

// VerifyTransactions checks the rules of transactions that need no state: signature, and the fee caps against each other
// and the base fee. The errors are those of go-ethereum's core.StateProcessor.
func VerifyTransactions(config *params.ChainConfig, block *types.Block) error {
	signer, baseFee := types.MakeSigner(config, block.Number(), block.Time()), block.BaseFee()
	for i, tx := range block.Transactions() {
		from, err := types.Sender(signer, tx)
		switch {
		case err != nil || baseFee == nil || !config.IsLondon(block.Number()):
		case tx.GasFeeCapIntCmp(tx.GasTipCap()) < 0:
			err = fmt.Errorf("%w: address %v, maxPriorityFeePerGas: %s, maxFeePerGas: %s", core.ErrTipAboveFeeCap, from.Hex(), tx.GasTipCap(), tx.GasFeeCap())
		case tx.GasFeeCapIntCmp(baseFee) < 0:
			err = fmt.Errorf("%w: address %v, maxFeePerGas: %s, baseFee: %s", core.ErrFeeCapTooLow, from.Hex(), tx.GasFeeCap(), baseFee)
		}
		if err != nil {
			return fmt.Errorf("could not apply tx %d [%v]: %w", i, tx.Hash().Hex(), err)
		}
	}
	return nil
}

// verifyCommitments compares the parts of a body with the hashes in its header.
func verifyCommitments(block *types.Block) error {
	header := block.Header()
	if hash := types.CalcUncleHash(block.Uncles()); hash != header.UncleHash {
		return fmt.Errorf("uncle root hash mismatch (header value %x, calculated %x)", header.UncleHash, hash)
	}
	if hash := types.DeriveSha(block.Transactions(), gethtrie.NewStackTrie(nil)); hash != header.TxHash {
		return fmt.Errorf("transaction root hash mismatch (header value %x, calculated %x)", header.TxHash, hash)
	}
	if err := verifyWithdrawals(block); err != nil {
		return err
	}
	if list, want := block.AccessList(), header.BlockAccessListHash; list != nil && want != nil {
		if hash := list.Hash(); hash != *want {
			return fmt.Errorf("access list hash mismatch, computed: %x, remote: %x", hash, *want)
		}
	}
	return nil
}

// verifyWithdrawals is EIP-4895.
func verifyWithdrawals(block *types.Block) error {
	want := block.Header().WithdrawalsHash
	switch {
	case want == nil && block.Withdrawals() == nil:
		return nil
	case want == nil:
		return errors.New("withdrawals present in block body")
	case block.Withdrawals() == nil:
		return errors.New("missing withdrawals in block body")
	}
	if hash := types.DeriveSha(block.Withdrawals(), gethtrie.NewStackTrie(nil)); hash != *want {
		return fmt.Errorf("withdrawals root hash mismatch (header value %x, calculated %x)", *want, hash)
	}
	return nil
}

// verifyBlobs is the part of EIP-4844 that a body shows: sidecars stay outside, and the
// header counts the blobs. Versions and number per transaction are execution's to judge.
func verifyBlobs(block *types.Block) error {
	var blobs uint64
	for i, tx := range block.Transactions() {
		if tx.BlobTxSidecar() != nil {
			return fmt.Errorf("unexpected blob sidecar in transaction at index %d", i)
		}
		blobs += uint64(len(tx.BlobHashes()))
	}
	used := block.BlobGasUsed()
	if used == nil {
		if blobs > 0 {
			return errors.New("data blobs present in block body")
		}
		return nil
	}
	if *used != blobs*params.BlobTxBlobGasPerBlob {
		return fmt.Errorf("blob gas used mismatch (header %d, calculated %d)", *used, blobs*params.BlobTxBlobGasPerBlob)
	}
	return nil
}

// verifyAccessList is EIP-7928. A block without its list is fine: execution makes the
// list and compares it with the header then.
func verifyAccessList(config *params.ChainConfig, block *types.Block) error {
	list, want := block.AccessList(), block.BlockAccessListHash()
	if !config.IsAmsterdam(block.Number(), block.Time()) {
		if want != nil || list != nil {
			return errors.New("block had access list before Amsterdam")
		}
		return nil
	}
	if want == nil {
		return errors.New("block access list hash not set in header")
	}
	if list == nil {
		return nil
	}
	if err := list.Validate(block.GasLimit(), len(block.Transactions())); err != nil {
		return fmt.Errorf("invalid block access list: %w", err)
	}
	return nil
}

// VerifyUncles checks the uncles of a proof-of-work block against its ancestors, as far as
// they are stored. Proof-of-stake blocks have none.
func (c *Chain) VerifyUncles(block *types.Block) error {
	return rules().VerifyUncles(chainReader{c}, block)
}

// parentReader is the least chain that go-ethereum's engine needs for one header: its parent.
type parentReader struct {
	config *params.ChainConfig
	parent *types.Header
	hash   common.Hash // of parent
}

func (p parentReader) Config() *params.ChainConfig  { return p.config }
func (p parentReader) CurrentHeader() *types.Header { return p.parent }

func (p parentReader) GetHeader(hash common.Hash, _ uint64) *types.Header {
	return p.GetHeaderByHash(hash)
}

func (p parentReader) GetHeaderByHash(hash common.Hash) *types.Header {
	if hash != p.hash {
		return nil
	}
	return p.parent
}

func (p parentReader) GetHeaderByNumber(number uint64) *types.Header {
	if number != p.parent.Number.Uint64() {
		return nil
	}
	return p.parent
}

// chainReader adapts a Chain to go-ethereum's engine.
type chainReader struct{ *Chain }

func (a chainReader) GetHeader(hash common.Hash, number uint64) *types.Header {
	header := a.Header(hash)
	if header == nil || header.Number.Uint64() != number {
		return nil
	}
	return header
}

func (a chainReader) GetHeaderByHash(hash common.Hash) *types.Header   { return a.Header(hash) }
func (a chainReader) GetHeaderByNumber(number uint64) *types.Header    { return a.HeaderByNumber(number) }
func (a chainReader) GetBlock(hash common.Hash, _ uint64) *types.Block { return a.Block(hash) }
