import { styleText } from 'node:util'
import { printLine } from './output.js'

/** A claim of the demo that turned out not to be so. */
export class DemoFailure extends Error {
  override readonly name = 'DemoFailure'
  readonly code = 'DEMO_FAILED'
}

export function section(title: string): void {
  printLine(`\n${paint('bold', title)}`)
}

export function note(text: string): void {
  printLine(`  ${text}`)
}

/** Prints a claim with a check mark if it holds; throws if not. */
export function claim(isTrue: boolean, text: string): void {
  if (!isTrue) throw new DemoFailure(`this did not hold: ${text}`)
  printLine(`  ${paint('green', '✓')} ${text}`)
}

export function paint(format: 'bold' | 'green', text: string): string {
  const isPlain = !process.stdout.isTTY || process.env['NO_COLOR'] !== undefined
  return isPlain ? text : styleText(format, text)
}
