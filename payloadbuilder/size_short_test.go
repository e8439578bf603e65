// SPDX-License-Identifier: LGPL-3.0-or-later

//go:build !e2e

package payloadbuilder

// randomPools is how many pools of each fork TestRandomPools tries.
const randomPools = 8
