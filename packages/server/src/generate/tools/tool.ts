import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec';
import type { ClientTool } from '@rivulet/protocol';
import type { ToolDeclaration } from '../../providers/provider.js';
import { isSchema, withoutReferences } from '../../providers/json-schema.js';
import type { Awaits } from '../../tool-replies.js';

/**
 * A schema of any library that speaks Standard Schema and Standard JSON Schema, such as zod from 4.2
 * on. It checks what a model says, and the model is told of it.
 */
export interface ToolSchema<Input = unknown, Output = Input> {
  readonly '~standard': StandardSchemaV1.Props<Input, Output> &
    StandardJSONSchemaV1.Props<Input, Output>;
}

export interface ToolContext {
  /**
   * Who asks: the user's id as `authenticate` gave it; without `authenticate`, the id that Rivulet gave
   * the browser or the connection. Absent if the request has no principal.
   */
  principal?: string;
  /** Aborts when the request is cancelled and when the tool's time is over. */
  signal: AbortSignal;
}

export interface ToolDefinition<Schema extends ToolSchema> {
  /** Letters, digits, `_` and `-`, at most 64, the first a letter or `_`. */
  name: string;
  /** What it does and when it is of use, for the model. */
  description: string;
  /** Of an object. */
  parameters: Schema;
  /** True if a user has to approve each call before it runs; false unless given. */
  needsApproval?: boolean | undefined;
  /**
   * Runs the tool with arguments that were checked. What it returns goes to the model and to the
   * readers of the answer, as JSON. The message of a `ToolError` goes to both, too; of any other
   * error they hear only that there was one. Without `execute`, a client runs the tool and sends the result.
   */
  execute?(args: StandardSchemaV1.InferOutput<Schema>, context: ToolContext): unknown;
}

/** What a model may call. `defineTool` makes it. */
export interface Tool extends ToolDeclaration {
  /** What a client has to send before a call goes on; it runs at once unless given. */
  readonly awaits?: Awaits | undefined;
  /**
   * Checks the arguments of a call that has to wait. Without it, the call waits whatever they are.
   *
   * @throws {ToolError} by its promise, with words that the model can act on.
   */
  check?(args: unknown): Promise<unknown>;
  /** Checks the arguments, then runs. Throws a `ToolError` with words that the model can act on. */
  call(args: unknown, context: ToolContext): Promise<unknown>;
}

/** A tool's failure in words that the model and the readers may see. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

// What Gemini takes; others take more.
const NAME = /^[a-z_][a-z0-9_-]{0,63}$/i;
const ISSUES_TOLD = 5;

/** Throws a `TypeError` when a model could not be told of the tool. */
export function defineTool<Schema extends ToolSchema>({
  name,
  description,
  parameters,
  needsApproval = false,
  execute,
}: ToolDefinition<Schema>): Tool {
  const unable = (reason: string): TypeError =>
    new TypeError(`unable to define the tool ${JSON.stringify(name)}: ${reason}`);
  if (!NAME.test(name)) {
    throw unable('a name has at most 64 letters, digits, "_" and "-", the first a letter or "_"');
  }
  if (description.trim() === '') throw unable('it has no description, by which a model chooses it');
  const awaits = execute === undefined ? 'result' : needsApproval ? 'approval' : undefined;
  if (needsApproval && execute === undefined)
    throw unable('a client runs it, and asks its user by itself; remove `needsApproval`');
  return {
    name,
    description,
    parameters: declare(parameters, unable),
    ...(awaits !== undefined && { awaits, check: (args: unknown) => check(parameters, args) }),
    async call(args, context) {
      return execute?.(await check(parameters, args), context);
    },
  };
}

/** A tool that a client declared. The model is given its schema as it is, and the client checks the arguments. */
export function clientTool({ name, description, parameters }: ClientTool): Tool {
  return {
    name,
    description,
    parameters,
    isClientTool: true,
    awaits: 'result',
    call: () => Promise.reject(new ToolError('only a client can run it')),
  };
}

function declare(
  schema: ToolSchema,
  unable: (reason: string) => TypeError,
): ToolDeclaration['parameters'] {
  try {
    const { jsonSchema } = schema['~standard'];
    const declared = withoutReferences(jsonSchema.input({ target: 'draft-2020-12' }));
    if (declared['type'] !== 'object') throw new TypeError('its parameters are no object');
    return declared;
  } catch (error) {
    throw unable(error instanceof Error ? error.message : String(error));
  }
}

async function check<Schema extends ToolSchema>(
  schema: Schema,
  args: unknown,
): Promise<StandardSchemaV1.InferOutput<Schema>> {
  if (!isSchema(args)) throw new ToolError('the arguments are not an object');
  const checked = await schema['~standard'].validate(args);
  if (checked.issues === undefined) return checked.value;
  const issues = checked.issues.slice(0, ISSUES_TOLD).map(describe);
  throw new ToolError(`the arguments are wrong: ${issues.join('; ')}`);
}

function describe({ message, path = [] }: StandardSchemaV1.Issue): string {
  const keys = path.map((step) => String(typeof step === 'object' ? step.key : step));
  return keys.length === 0 ? message : `${keys.join('.')}: ${message}`;
}
