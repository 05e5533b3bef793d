#!/usr/bin/env node
import { exitStatusOf } from './failure.js'
import { endQuietlyOnClosedPipe } from './output.js'
import { buildProgram } from './program.js'

endQuietlyOnClosedPipe()
try {
  await buildProgram().parseAsync(process.argv)
} catch (error) {
  process.exitCode = exitStatusOf(error)
}
