import { itMatchesTheModel } from './run-histories.js'

itMatchesTheModel('leveled', 900)
