/**
 * Packs LZ4 blocks, in WebAssembly, which is compiled at once: nothing that has to run warm first. See `lz4-kernel.ts`
 * for the format; beside it, a block ends with five literals or more, and its last match starts twelve bytes before its
 * end or earlier. The search is LZ4's own: a table of where four bytes with some hash were last seen, looked into at
 * every place, at fewer places the longer nothing was found.
 * Source: lz4_Block_format.md and the fast compressor, github.com/lz4/lz4.
 */
import type { RunKernel } from './lz4-kernel.js'
import {
  add,
  advance,
  and,
  assign,
  type Code,
  choose,
  clear,
  doForever,
  doWhile,
  giveBack,
  isAtLeast,
  isEqual,
  isGreater,
  isLess,
  isSame8Bytes,
  load8Bytes,
  loadByte,
  loadU32,
  local,
  moduleOf,
  multiply,
  or,
  sameBytesOf,
  shiftLeft,
  shiftRight,
  store8Bytes,
  storeByte,
  storeU16,
  storeU32,
  subtract,
  when,
  whileDo,
} from './wasm-code.js'

const MATCH_BYTES_MIN = 4
const DISTANCE_MAX = 65_535
/** In a token: more of the length follows. */
const MORE = 15
const WORD_BYTES = 8
/** What is copied in one step: two words. */
const STEP_BYTES = 2 * WORD_BYTES
/** As steps are whole, as much is read behind the input, and more than what is checked is written to the output. */
export const PACKER_MARGIN_BYTES = 4 * STEP_BYTES
/** No match starts in the last of them, or reaches into the very last. */
const MATCH_START_END = 12
const LITERALS_END = 5

/** Four bytes a slot, from the start of the memory: so many fit into the fastest cache beside a block. */
const TABLE_BITS = 12
export const TABLE_BYTES = 4 << TABLE_BITS
/** Knuth's multiplier: 2^32 by the golden ratio. */
const HASH_FACTOR = 2_654_435_761 | 0
/** After so many places (as a power of two) without a match every second one is tried, then every third. */
const SKIP_BITS = 5

/**
 * Takes places in the packer's memory, behind the table; gives where the output ends, or 0 where there is not room
 * enough for it.
 */
export type RunPacker = RunKernel

const [input, inputEnd, output, outputEnd] = [local(0), local(1), local(2), local(3)]
/** Where the literals begin that are not written yet, and where a match is looked for. */
const [anchor, at, next, tries] = [local(4), local(5), local(6), local(7)]
const [word, slot, from, end] = [local(8), local(9), local(10), local(11)]
const [length, token, stop] = [local(12), local(13), local(14)]
const LOCALS = 11

const failWhen = (condition: Code) => when(condition, [giveBack(0)])

const slotOf = (bytes: Code) =>
  and(shiftRight(multiply(bytes, HASH_FACTOR), 32 - TABLE_BITS - 2), TABLE_BYTES - 4)

const put = (value: Code | number) => [storeByte(output, value), advance(output, 1)]

/** Writes `length` as the half of a token that `shift` names, and after the token what that has no room for. */
const writeLength = (shift: number) =>
  when(isLess(length, MORE), storeByte(token, or(loadByte(token), shiftLeft(length, shift))), [
    storeByte(token, or(loadByte(token), MORE << shift)),
    assign(length, subtract(length, MORE)),
    whileDo(isAtLeast(length, 255), [put(255), assign(length, subtract(length, 255))]),
    put(length),
  ])

/** A token and the literals from `anchor` up to `stop`, if there is room for them and a match after them. */
const writeLiterals = [
  assign(length, subtract(stop, anchor)),
  // One byte in 128 is more than the length takes.
  failWhen(isGreater(add(output, add(length, shiftRight(length, 7))), outputEnd)),
  assign(token, output),
  put(0),
  writeLength(4),
  assign(from, anchor),
  assign(anchor, add(output, subtract(stop, anchor))),
  whileDo(isLess(output, anchor), [
    store8Bytes(output, load8Bytes(from)),
    store8Bytes(output, load8Bytes(from, WORD_BYTES), WORD_BYTES),
    advance(output, STEP_BYTES),
    advance(from, STEP_BYTES),
  ]),
  assign(output, anchor),
]

const writeLast = [
  assign(stop, inputEnd),
  writeLiterals,
  giveBack(choose(isGreater(output, outputEnd), 0, output)),
]

/**
 * Goes from `at` to where four bytes come again that were seen at `from`; there the block ends if there are none. What
 * the table has nothing for was seen at the very start, as far as it says, so that one comparison is enough.
 */
const findMatch = [
  assign(tries, 1 << SKIP_BITS),
  assign(next, at),
  doWhile(
    [
      assign(at, next),
      when(isGreater(add(at, MATCH_START_END), inputEnd), writeLast),
      advance(next, shiftRight(tries, SKIP_BITS)),
      advance(tries, 1),
      assign(word, loadU32(at)),
      assign(slot, slotOf(word)),
      assign(from, add(input, loadU32(slot))),
      storeU32(slot, subtract(at, input)),
    ],
    choose(isEqual(loadU32(from), word), isGreater(subtract(at, from), DISTANCE_MAX), 1),
  ),
]

/** What stands before the match may be alike too, where places were left out. */
const extendBack = whileDo(
  choose(
    isGreater(at, anchor),
    choose(isGreater(from, input), isEqual(loadByte(subtract(at, 1)), loadByte(subtract(from, 1))), 0),
    0,
  ),
  [advance(at, -1), advance(from, -1)],
)

const hasWord = isLess(add(end, WORD_BYTES + LITERALS_END - 1), inputEnd)
const endWord = load8Bytes(end)
const matchWord = load8Bytes(subtract(end, next))

/** Sets `end`; `next` is the distance of the match. */
const extend = [
  assign(next, subtract(at, from)),
  assign(end, add(at, MATCH_BYTES_MIN)),
  whileDo(choose(hasWord, isSame8Bytes(endWord, matchWord), 0), advance(end, WORD_BYTES)),
  when(
    hasWord,
    advance(end, sameBytesOf(endWord, matchWord)),
    whileDo(
      choose(
        isLess(add(end, LITERALS_END), inputEnd),
        isEqual(loadByte(end), loadByte(subtract(end, next))),
        0,
      ),
      advance(end, 1),
    ),
  ),
]

const writeMatch = [
  storeU16(output, next),
  advance(output, 2),
  assign(length, subtract(subtract(end, at), MATCH_BYTES_MIN)),
  failWhen(isGreater(add(output, shiftRight(length, 7)), outputEnd)),
  writeLength(0),
]

const goOn = [
  assign(anchor, end),
  assign(at, end),
  // One place within the match is noted too: matches often follow one another.
  assign(end, subtract(end, 2)),
  storeU32(slotOf(loadU32(end)), subtract(end, input)),
]

export function packerBytes(): Uint8Array {
  return moduleOf(4, LOCALS, [
    clear(0, TABLE_BYTES),
    assign(anchor, input),
    // Nothing stands before the first byte.
    assign(at, add(input, 1)),
    doForever([findMatch, extendBack, extend, assign(stop, at), writeLiterals, writeMatch, goOn]),
  ])
}
