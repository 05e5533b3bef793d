/**
 * Unpacks LZ4 blocks, in WebAssembly: 0.6 to 0.9 µs for 4 KiB with the copies in and out. In JavaScript each of the
 * 70 copies that such a block can be made of costs 40 ns, by a call as well as word by word, through a DataView.
 *
 *   block    := sequence*, the last one of literals alone
 *   sequence := token | more literals* | literals | offset:u16 | more match*
 *   token    := literals in the upper four bits, bytes of the match less 4 in the lower; 15: bytes are added up to
 *               the first that is not 255
 *
 * Source: lz4_Block_format.md, github.com/lz4/lz4.
 */
import {
  add,
  advance,
  and,
  assign,
  type Code,
  doForever,
  doWhile,
  giveBack,
  isAtLeast,
  isEqual,
  isGreater,
  isLess,
  load8Bytes,
  loadByte,
  loadU16,
  local,
  moduleOf,
  shiftRight,
  store8Bytes,
  storeByte,
  subtract,
  when,
} from './wasm-code.js'

const MATCH_BYTES_MIN = 4
/** In a token: more of the length follows. */
const MORE = 15
const WORD_BYTES = 8
/** What is copied in one step: two words. Vectors are no faster, and old processors have none. */
const STEP_BYTES = 2 * WORD_BYTES
/** As steps are whole, as much is read behind the input, and written behind the output. */
export const KERNEL_MARGIN_BYTES = STEP_BYTES

/**
 * Takes places in the kernel's memory; gives where the output ends, or 0: the input is no block, or one too large.
 * Numbers have 32 bits and no sign, so the result takes `>>> 0`.
 */
export type RunKernel = (input: number, inputEnd: number, output: number, outputEnd: number) => number

const [input, inputEnd, output, outputEnd] = [local(0), local(1), local(2), local(3)]
const [start, token, length, byte, from, stop] = [local(4), local(5), local(6), local(7), local(8), local(9)]

const failWhen = (condition: Code) => when(condition, [giveBack(0)])
const failUnlessRoom = failWhen(isGreater(length, subtract(outputEnd, output)))

/** The rest of a length that the token has no room for. */
const readMore = when(isEqual(length, MORE), [
  doWhile(
    [
      failWhen(isAtLeast(input, inputEnd)),
      assign(byte, loadByte(input)),
      advance(input, 1),
      advance(length, byte),
      // Here too: a sum of very many would overflow.
      failUnlessRoom,
    ],
    isEqual(byte, 255),
  ),
])

/** From `from`, a word or more before `output`, up to `stop` or past it. */
const copySteps = doWhile(
  [
    store8Bytes(output, load8Bytes(from)),
    store8Bytes(output, load8Bytes(from, WORD_BYTES), WORD_BYTES),
    advance(output, STEP_BYTES),
    advance(from, STEP_BYTES),
  ],
  isLess(output, stop),
)

const copyLiterals = [
  failWhen(isGreater(length, subtract(inputEnd, input))),
  failUnlessRoom,
  assign(from, input),
  assign(stop, add(output, length)),
  copySteps,
  assign(output, stop),
  advance(input, length),
]

/**
 * A match that begins less than a word back: its first word byte by byte; the rest from as many periods back as make
 * a word, all of which is written by then, since the match lies one period behind its copy.
 */
const copyNear = [
  assign(length, add(output, WORD_BYTES)),
  doWhile([storeByte(output, loadByte(from)), advance(output, 1), advance(from, 1)], isLess(output, length)),
  when(isLess(output, stop), [
    assign(length, subtract(output, from)),
    doWhile([assign(from, subtract(from, length))], isLess(subtract(output, from), WORD_BYTES)),
    copySteps,
  ]),
]

const copyMatch = [
  // Half an offset leaves the input behind its end, where nothing more is read.
  assign(from, subtract(output, loadU16(input))),
  advance(input, 2),
  // An offset of 0, or one to before the start.
  failWhen(isAtLeast(from, output)),
  failWhen(isLess(from, start)),
  assign(length, and(token, MORE)),
  readMore,
  advance(length, MATCH_BYTES_MIN),
  failUnlessRoom,
  assign(stop, add(output, length)),
  when(isLess(subtract(output, from), WORD_BYTES), copyNear, copySteps),
  assign(output, stop),
]

export function kernelBytes(): Uint8Array {
  return moduleOf(4, 6, [
    assign(start, output),
    doForever([
      failWhen(isAtLeast(input, inputEnd)),
      assign(token, loadByte(input)),
      advance(input, 1),
      assign(length, shiftRight(token, 4)),
      readMore,
      copyLiterals,
      when(isEqual(input, inputEnd), [giveBack(output)]),
      copyMatch,
    ]),
  ])
}
