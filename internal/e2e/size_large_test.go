// SPDX-License-Identifier: LGPL-3.0-or-later

//go:build e2e

package e2e_test

// large is whether the tests run in their full size.
const large = true
