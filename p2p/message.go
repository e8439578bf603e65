package p2p

import (
	"fmt"

	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
)

// Limits of the protocols. The wire limit is devp2p's custom for eth and snap, the others
// are those of go-ethereum's servers (eth/protocols/{eth,snap}/handler.go).
const (
	maxMessageSize = 10 << 20 // bytes, any message
	softReplySize  = 2 << 20  // bytes after which no further item is added to a reply
	maxLookups     = 1024     // headers, bodies, receipts, access lists, codes, trie nodes
	maxPooled      = 4096     // transactions per request or announcement
	maxGossiped    = 5000     // transactions in one Transactions message
	maxProof       = 128      // nodes in a range proof
)

// protocol is one of the streams of a link: eth, or one of its satellites.
type protocol int

const (
	protoEth protocol = iota
	protoSnap
	protoWit
	protoBeam
)

const protocolCount = int(protoBeam) + 1

// satellite is a protocol that runs beside eth and never alone.
type satellite struct {
	protocol protocol
	name     string
	version  uint
	length   uint64 // number of message codes
}

// satellites are those that we speak, one version of each.
//
//nolint:gochecknoglobals // a constant table
var satellites = []satellite{
	{protoSnap, snap.ProtocolName, snap.SNAP1, 8},
	{protoWit, witName, witVersion, witLength},
	{protoBeam, beamName, beamVersion, beamLength},
}

// String returns the protocol's name and, of a satellite, its version.
func (p protocol) String() string {
	for _, s := range satellites {
		if s.protocol == p {
			return fmt.Sprintf("%s/%d", s.name, s.version)
		}
	}
	return eth.ProtocolName
}

// ethVersions are the versions of eth that we speak, with their number of message codes.
// eth/72 is missing on purpose, see the package documentation.
//
//nolint:gochecknoglobals // a constant table
var ethVersions = map[uint]uint64{eth.ETH71: 20, eth.ETH70: 18, eth.ETH69: 18}

// message is a kind of message on any stream; a closed set, used as a metric label.
type message int

const (
	msgStatus message = iota
	msgTransactions
	msgGetBlockHeaders
	msgBlockHeaders
	msgGetBlockBodies
	msgBlockBodies
	msgPooledHashes
	msgGetPooledTransactions
	msgPooledTransactions
	msgGetReceipts
	msgReceipts
	msgBlockRangeUpdate
	msgGetAccessLists
	msgAccessLists
	msgGetAccountRange
	msgAccountRange
	msgGetStorageRanges
	msgStorageRanges
	msgGetByteCodes
	msgByteCodes
	msgGetTrieNodes
	msgTrieNodes
	msgGetWitnessHashes
	msgWitnessHashes
	msgGetWitnessKeys
	msgWitnessKeys
)

const messageCount = int(msgWitnessKeys) + 1

// role says what is done with a message that comes in.
type role int

const (
	roleHandshake role = iota // only as the first message
	roleGossip                // queued, dropped when the queue is full
	roleRange                 // taken at once
	roleRequest               // queued, answered
	roleResponse              // handed to the caller that waits for it
)

type messageKind struct {
	name     string
	protocol protocol
	code     uint64
	role     role
}

// messages is what each kind of message is on the wire.
//
//nolint:gochecknoglobals // a constant table
var messages = [messageCount]messageKind{
	msgStatus:                {"status", protoEth, eth.StatusMsg, roleHandshake},
	msgTransactions:          {"transactions", protoEth, eth.TransactionsMsg, roleGossip},
	msgGetBlockHeaders:       {"get_block_headers", protoEth, eth.GetBlockHeadersMsg, roleRequest},
	msgBlockHeaders:          {"block_headers", protoEth, eth.BlockHeadersMsg, roleResponse},
	msgGetBlockBodies:        {"get_block_bodies", protoEth, eth.GetBlockBodiesMsg, roleRequest},
	msgBlockBodies:           {"block_bodies", protoEth, eth.BlockBodiesMsg, roleResponse},
	msgPooledHashes:          {"new_pooled_transaction_hashes", protoEth, eth.NewPooledTransactionHashesMsg, roleGossip},
	msgGetPooledTransactions: {"get_pooled_transactions", protoEth, eth.GetPooledTransactionsMsg, roleRequest},
	msgPooledTransactions:    {"pooled_transactions", protoEth, eth.PooledTransactionsMsg, roleResponse},
	msgGetReceipts:           {"get_receipts", protoEth, eth.GetReceiptsMsg, roleRequest},
	msgReceipts:              {"receipts", protoEth, eth.ReceiptsMsg, roleResponse},
	msgBlockRangeUpdate:      {"block_range_update", protoEth, eth.BlockRangeUpdateMsg, roleRange},
	msgGetAccessLists:        {"get_block_access_lists", protoEth, eth.GetBlockAccessListsMsg, roleRequest},
	msgAccessLists:           {"block_access_lists", protoEth, eth.BlockAccessListsMsg, roleResponse},
	msgGetAccountRange:       {"get_account_range", protoSnap, snap.GetAccountRangeMsg, roleRequest},
	msgAccountRange:          {"account_range", protoSnap, snap.AccountRangeMsg, roleResponse},
	msgGetStorageRanges:      {"get_storage_ranges", protoSnap, snap.GetStorageRangesMsg, roleRequest},
	msgStorageRanges:         {"storage_ranges", protoSnap, snap.StorageRangesMsg, roleResponse},
	msgGetByteCodes:          {"get_byte_codes", protoSnap, snap.GetByteCodesMsg, roleRequest},
	msgByteCodes:             {"byte_codes", protoSnap, snap.ByteCodesMsg, roleResponse},
	msgGetTrieNodes:          {"get_trie_nodes", protoSnap, snap.GetTrieNodesMsg, roleRequest},
	msgTrieNodes:             {"trie_nodes", protoSnap, snap.TrieNodesMsg, roleResponse},
	msgGetWitnessHashes:      {"get_block_witness_hashes", protoWit, getWitnessHashesCode, roleRequest},
	msgWitnessHashes:         {"block_witness_hashes", protoWit, witnessHashesCode, roleResponse},
	msgGetWitnessKeys:        {"get_witness_keys", protoBeam, getWitnessKeysCode, roleRequest},
	msgWitnessKeys:           {"witness_keys", protoBeam, witnessKeysCode, roleResponse},
}

// String returns the message's name as metrics and errors spell it.
func (m message) String() string { return messages[m].name }

// lookup finds the message with a code in a protocol; version is that of eth.
func lookup(proto protocol, version uint, code uint64) (message, bool) {
	for m := range message(messageCount) {
		if messages[m].protocol != proto || messages[m].code != code {
			continue
		}
		return m, version >= eth.ETH71 || (m != msgGetAccessLists && m != msgAccessLists)
	}
	return 0, false
}
