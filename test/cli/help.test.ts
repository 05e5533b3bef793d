import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { suggest } from '../../src/cli/completion.js'
import { COMMAND_HELP } from '../../src/cli/help.js'
import { buildProgram } from '../../src/cli/program.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const CONTRACT =
  'get put del scan load dump tail stats verify repair compact checkpoint restore log segment manifest serve demo'

function visibleCommands(program: Command): Command[] {
  return program.createHelp().visibleCommands(program)
}

/** What commander makes of a line, without doing it. */
function parses(line: string): void {
  const program = buildProgram()
  for (const command of program.commands) command.action(() => {}).exitOverride()
  const words = line
    .split(/ [|<>#&]/)[0]!
    .trim()
    .split(' ')
  program.parse(words, { from: 'user' })
}

describe('help', () => {
  it('lists every command of the contract', () => {
    const names = buildProgram().commands.map((command) => command.name())
    expect(names).toEqual(expect.arrayContaining(CONTRACT.split(' ')))
  })

  it('gives each command a group and examples, and examples to nothing else', () => {
    const names = visibleCommands(buildProgram()).map((command) => command.name())
    expect(Object.keys(COMMAND_HELP).sort()).toEqual(names.filter((name) => name !== 'help').sort())
    expect(Object.entries(COMMAND_HELP).filter(([, { examples }]) => examples.length === 0)).toEqual([])
  })

  it('has examples that are right', () => {
    for (const [name, { examples }] of Object.entries(COMMAND_HELP)) {
      for (const [, line] of examples) {
        expect(line).toContain(`${name} `.trim())
        expect(() => parses(line), line).not.toThrow()
      }
    }
    expect(() => parses('scan ./data --kyes')).toThrow()
  })

  it('offers JSON wherever what is printed is not JSON, a value or a script already', () => {
    const without = visibleCommands(buildProgram())
      .filter((command) => !command.options.some(({ long }) => long === '--json'))
      .map((command) => command.name())
    expect(without.sort()).toEqual(['completion', 'demo', 'demo-log', 'dump', 'help'])
  })
})

describe('completion', () => {
  const words = (...typed: string[]) => suggest(buildProgram(), typed).map(({ word }) => word)

  it('knows commands, options and their values, as the program itself does', () => {
    expect(words('st')).toEqual(['stats'])
    expect(words('')).toEqual(expect.arrayContaining([...CONTRACT.split(' '), '--version', 'help']))
    expect(words('demo-')).toEqual(['demo-log'])
    expect(words('help', 'comp')).toEqual(['compact', 'completion'])
    expect(words('scan', './data', '--ke')).toEqual(['--keys', '--key-file'])
    expect(words('load', '--format', 'r')).toEqual(['rocksdb'])
    expect(words('completion', '')).toEqual(['bash', 'zsh', 'fish'])
    const options = buildProgram().commands.find((command) => command.name() === 'scan')!.options
    expect(words('scan', './data', '--')).toEqual([...options.map(({ long }) => long), '--help'])
  })

  it('leaves files to the shell, gives no option twice, and nothing to what is unknown', () => {
    expect(words('get', './d')).toEqual([])
    expect(words('scan', '--prefix', '')).toEqual([])
    expect(words('scan', './data', '--keys', '--keys')).toEqual([])
    expect(words('nonsense', '')).toEqual([])
  })

  const hasBash = spawnSync('bash', ['--version']).status === 0
  it.skipIf(!hasBash)('works in bash', () => {
    const directory = mkdtempSync(join(tmpdir(), 'varve-completion-'))
    try {
      const program = join(directory, 'varve')
      writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`)
      chmodSync(program, 0o755)
      const script = `eval "$(varve completion bash)"
        complete -p varve
        COMP_WORDS=(varve load "a b" --format ''); COMP_CWORD=4; _varve; echo "\${COMPREPLY[*]}"
        COMP_WORDS=(varve cons); COMP_CWORD=1; _varve; echo "\${COMPREPLY[*]}"`
      const { stdout, stderr } = spawnSync('bash', ['-c', script], {
        encoding: 'utf8',
        env: { ...process.env, PATH: `${directory}${delimiter}${process.env.PATH}` },
      })
      expect(stderr).toBe('')
      expect(stdout).toBe(
        'complete -o default -F _varve varve\ndump ndjson csv tsv rocksdb leveldb\nconsumers\n',
      )
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

describe('mistakes', () => {
  it.each([
    [['statz'], "varve: unknown command 'statz' (Did you mean stats?)\n"],
    [['scan', '.', '--kyes'], "varve: unknown option '--kyes' (Did you mean --keys?)\n"],
    [['get', '.'], "varve: missing required argument 'key'\n"],
  ])('%j get one line that says what was meant', (args, expected) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' })
    expect({ status, stdout, stderr }).toEqual({ status: 2, stdout: '', stderr: expected })
  })
})
