import { Readable } from 'node:stream'
import { exitStatusOf } from '../../src/cli/failure.js'
import { checkHelpTopic } from '../../src/cli/help.js'
import { buildProgram } from '../../src/cli/program.js'

export interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  /** Of stdout. */
  readonly bytes: Buffer
}

/**
 * What `cli/main.js` does, in this process: to start one takes twenty times as long. Not for two at once, nor for
 * what is remembered for the life of a process, as `--key-file` is.
 */
export async function runMain(args: readonly string[], input: string | Buffer = ''): Promise<Outcome> {
  const out: Buffer[] = []
  const err: Buffer[] = []
  const restore = [divert('stdout', out), divert('stderr', err), feed(input)]
  const exitCode = process.exitCode
  process.exitCode = 0
  try {
    const program = buildProgram()
    checkHelpTopic(program, args)
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    process.exitCode = exitStatusOf(error)
  }
  const status = Number(process.exitCode)
  process.exitCode = exitCode
  for (const undo of restore) undo()
  const bytes = Buffer.concat(out)
  return { status, stdout: bytes.toString('utf8'), stderr: Buffer.concat(err).toString('utf8'), bytes }
}

function divert(name: 'stdout' | 'stderr', into: Buffer[]): () => void {
  const stream = process[name]
  const { write } = stream
  stream.write = (part: string | Uint8Array) => {
    into.push(Buffer.from(part as Uint8Array))
    return true
  }
  return () => {
    stream.write = write
  }
}

function feed(input: string | Buffer): () => void {
  const stdin = Object.getOwnPropertyDescriptor(process, 'stdin')!
  Object.defineProperty(process, 'stdin', { value: Readable.from([Buffer.from(input)]), configurable: true })
  return () => Object.defineProperty(process, 'stdin', stdin)
}
