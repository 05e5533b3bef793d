/**
 * Bytes of WebAssembly, put together from expressions: as much of the binary format as a small kernel needs.
 * Sources: webassembly.org/specs/core, "Binary Format" (sections 5.3 to 5.5) and its index of instructions.
 */

/** Bytes in nested lists, which are made one list at the end: that is ten times as quick as joining at each level. */
export type Code = readonly (number | Code)[]
/** A number stands for a constant of 32 bits. */
type Operand = Code | number

const MAGIC_AND_VERSION = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
const I32 = 0x7f
const FUNCTION_TYPE = 0x60
const NO_RESULT = 0x40

const UNREACHABLE = 0x00
const LOOP = 0x03
const IF = 0x04
const ELSE = 0x05
const END = 0x0b
const BRANCH = 0x0c
const BRANCH_IF = 0x0d
const RETURN = 0x0f
const LOCAL_GET = 0x20
const LOCAL_SET = 0x21
const I32_CONST = 0x41

function unsigned(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
  bytes.push(rest)
  return bytes
}

function signed(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest < -0x40 || rest >= 0x40; rest >>= 7) bytes.push((rest & 0x7f) | 0x80)
  bytes.push(rest & 0x7f)
  return bytes
}

function codeOf(operand: Operand): Code {
  return typeof operand === 'number' ? [I32_CONST, signed(operand)] : operand
}

function binary(opcode: number): (left: Operand, right: Operand) => Code {
  return (left, right) => [codeOf(left), codeOf(right), opcode]
}

// Loads and stores promise no alignment of the address, to which `offset` is added.
function load(opcode: number): (address: Code, offset?: number) => Code {
  return (address, offset = 0) => [address, opcode, 0, unsigned(offset)]
}

function store(opcode: number): (address: Code, value: Code, offset?: number) => Code {
  return (address, value, offset = 0) => [address, value, opcode, 0, unsigned(offset)]
}

export const add = binary(0x6a)
export const subtract = binary(0x6b)
export const and = binary(0x71)
export const shiftRight = binary(0x76)
export const isEqual = binary(0x46)
/** Of numbers without a sign, as the next two. */
export const isLess = binary(0x49)
export const isGreater = binary(0x4b)
export const isAtLeast = binary(0x4f)

export const loadByte = load(0x2d)
export const loadU16 = load(0x2f)
export const load8Bytes = load(0x29)
export const storeByte = store(0x3a)
export const store8Bytes = store(0x37)

/** A parameter, or one of the variables, which come after them. */
export function local(index: number): Code {
  return [LOCAL_GET, index]
}

/** @param variable a `local`. */
export function assign(variable: Code, value: Operand): Code {
  return [codeOf(value), LOCAL_SET, variable.slice(1)]
}

export function advance(variable: Code, by: Operand): Code {
  return assign(variable, add(variable, by))
}

export function when(condition: Code, then: Code, otherwise: Code = []): Code {
  return [condition, IF, NO_RESULT, then, ELSE, otherwise, END]
}

/** The body runs once, and again for as long as the condition holds. */
export function doWhile(body: Code, condition: Code): Code {
  return [LOOP, NO_RESULT, body, condition, BRANCH_IF, 0, END]
}

/** Until the function gives something back. */
export function doForever(body: Code): Code {
  return [LOOP, NO_RESULT, body, BRANCH, 0, END]
}

export function giveBack(value: Operand): Code {
  return [codeOf(value), RETURN]
}

function sized(code: Code): number[] {
  const bytes = flatten(code)
  return [...unsigned(bytes.length), ...bytes]
}

function flatten(code: Code, into: number[] = []): number[] {
  for (const item of code) {
    if (typeof item === 'number') into.push(item)
    else flatten(item, into)
  }
  return into
}

function section(id: number, items: readonly Code[]): Code {
  return [id, sized([unsigned(items.length), items])]
}

/**
 * A module that exports `run`, a function of numbers to a number, and `memory`.
 * @param localCount variables beside the parameters.
 */
export function moduleOf(parameterCount: number, localCount: number, body: Code): Uint8Array {
  const type = [FUNCTION_TYPE, parameterCount, Array.from({ length: parameterCount }, () => I32), 1, I32]
  const memory = [0, 1]
  const exports = [
    [sized([...Buffer.from('run')]), 0, 0],
    [sized([...Buffer.from('memory')]), 2, 0],
  ]
  // Validation wants an end that gives something back, or cannot be reached.
  const code = sized([1, localCount, I32, body, UNREACHABLE, END])
  return new Uint8Array(
    flatten([
      MAGIC_AND_VERSION,
      section(1, [type]),
      section(3, [[0]]),
      section(5, [memory]),
      section(7, exports),
      section(10, [code]),
    ]),
  )
}
