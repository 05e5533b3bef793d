import { Argument, type Command, type Option } from 'commander'
import { printLine } from './output.js'

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

/** A word that may come next, and what it means. */
interface Suggestion {
  readonly word: string
  readonly meaning: string
}

/** The shell asks this program at each TAB what may come: its answer is as new as the program. */
const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `_varve() {
  local IFS=$'\\n'
  COMPREPLY=($(varve complete bash -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _varve varve`,
  zsh: `#compdef varve
_varve() {
  local -a found
  found=("\${(@f)$(varve complete zsh -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then _describe varve found; else _files; fi
}
if [[ "$funcstack[1]" = _varve ]]; then _varve "$@"; else compdef _varve varve; fi`,
  fish: `function __varve_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (varve complete fish -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c varve -f -a '(__varve_complete)'`,
}

const INSTALL: Readonly<Record<Shell, string>> = {
  bash: '# In ~/.bashrc: eval "$(varve completion bash)"',
  zsh: '# In ~/.zshrc, after compinit: eval "$(varve completion zsh)"',
  fish: '# In ~/.config/fish/config.fish: varve completion fish | source',
}

export function addCompletionCommand(program: Command): void {
  const shell = () => new Argument('<shell>', 'bash, zsh or fish').choices(SHELLS)
  program
    .command('completion')
    .description('prints what makes a shell complete commands and options at TAB')
    .addArgument(shell())
    .action((name: Shell) => {
      const script = SCRIPTS[name]
      // zsh looks for #compdef in the first line.
      printLine(name === 'zsh' ? `${script}\n${INSTALL.zsh}` : `${INSTALL[name]}\n${script}`)
    })
  program
    .command('complete', { hidden: true })
    .addArgument(shell())
    .argument('[words...]')
    .action((name: Shell, words: readonly string[]) => {
      for (const suggestion of suggest(program, words)) printLine(formatFor(name, suggestion))
    })
}

function formatFor(shell: Shell, { word, meaning }: Suggestion): string {
  if (shell === 'bash') return word
  return shell === 'zsh' ? `${word.replaceAll(':', '\\:')}:${meaning}` : `${word}\t${meaning}`
}

/** What may stand where the last of `words` stands, which may be begun; nothing: a name of a file, or anything. */
export function suggest(program: Command, words: readonly string[]): Suggestion[] {
  const typed = words[words.length - 1] ?? ''
  const before = words.slice(0, -1)
  const command = program.commands.find((candidate) => candidate.name() === before[0])
  const all = command ? inCommand(command, before.slice(1), typed) : atStart(program, before)
  return all.filter(({ word }) => word.startsWith(typed))
}

function atStart(program: Command, before: readonly string[]): Suggestion[] {
  if (before.length > 0 && before[0] !== 'help') return []
  const { visibleCommands, visibleOptions } = visible(program)
  const commands = visibleCommands.map((command) => ({
    word: command.name(),
    meaning: command.description(),
  }))
  return before.length > 0 ? commands : [...commands, ...visibleOptions]
}

function inCommand(command: Command, before: readonly string[], typed: string): Suggestion[] {
  const wanted = command.options.find((option) => isOf(option, before[before.length - 1]))
  if (wanted && (wanted.required || wanted.optional)) return choicesOf(wanted.argChoices)
  if (typed.startsWith('-')) {
    const { visibleOptions } = visible(command)
    return visibleOptions.filter(({ word }) => !before.includes(word))
  }
  return choicesOf(command.registeredArguments[argumentsIn(command, before)]?.argChoices)
}

/** How many of `words` are arguments, rather than options and what belongs to them. */
function argumentsIn(command: Command, words: readonly string[]): number {
  let count = 0
  for (let i = 0; i < words.length; i++) {
    const option = command.options.find((candidate) => isOf(candidate, words[i]))
    if (option && (option.required || option.optional)) i++
    else if (!option) count++
  }
  return count
}

function isOf(option: Option, word: string | undefined): boolean {
  return word !== undefined && (option.long === word || option.short === word)
}

function choicesOf(choices: readonly string[] | undefined): Suggestion[] {
  return (choices ?? []).map((word) => ({ word, meaning: '' }))
}

function visible(command: Command): { visibleCommands: Command[]; visibleOptions: Suggestion[] } {
  const help = command.createHelp()
  const visibleOptions = help
    .visibleOptions(command)
    .flatMap(({ long, description }) => (long === undefined ? [] : [{ word: long, meaning: description }]))
  return { visibleCommands: help.visibleCommands(command), visibleOptions }
}
