import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec';
import type { ClientTool } from '@rivulet/protocol';
import type { ToolDeclaration } from '../../providers/provider.js';
import { isSchema, withoutReferences } from '../../providers/json-schema.js';
import type { Awaits } from '../../tool-replies.js';

/**
 * A schema of any library that implements Standard Schema and Standard JSON Schema, such as zod from 4.2 on.
 * It validates the model's arguments, and the model receives it as JSON Schema.
 */
export interface ToolSchema<Input = unknown, Output = Input> {
  readonly '~standard': StandardSchemaV1.Props<Input, Output> &
    StandardJSONSchemaV1.Props<Input, Output>;
}

export interface ToolContext {
  /**
   * The user's id as `authenticate` returned it. Without `authenticate`, the id that Rivulet assigned to the
   * browser or the connection. Absent if the request has no principal.
   */
  principal?: string;
  /** Aborts when the request is cancelled or the tool's time limit has passed. */
  signal: AbortSignal;
}

export interface ToolDefinition<Schema extends ToolSchema> {
  /** Letters, digits, `_` and `-`, at most 64, the first a letter or `_`. */
  name: string;
  /** Tells the model what the tool does and when to use it. */
  description: string;
  /** The schema of an object. */
  parameters: Schema;
  /** True if a user has to approve each call before it runs. False unless given. */
  needsApproval?: boolean | undefined;
  /**
   * Runs the tool with validated arguments. The model and the readers of the answer receive the result as
   * JSON. They also receive the message of a `ToolError`; of any other error, they learn only that the call
   * failed. Without `execute`, a client runs the tool and sends the result.
   */
  execute?(args: StandardSchemaV1.InferOutput<Schema>, context: ToolContext): unknown;
}

/** A tool that a model may call. Created by `defineTool`. */
export interface Tool extends ToolDeclaration {
  /**
   * The kind of reply that a client has to send before a call continues. A call runs at once unless given.
   */
  readonly awaits?: Awaits | undefined;
  /**
   * Validates the arguments of a call that waits for a client. Unless given, the call waits with any
   * arguments.
   *
   * @throws {ToolError} rejects with a message for the model.
   */
  check?(args: unknown): Promise<unknown>;
  /** Validates the arguments and runs the tool. Rejects with a `ToolError` whose message is for the model. */
  call(args: unknown, context: ToolContext): Promise<unknown>;
}

/** A tool's failure with a message that the model and the readers may see. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

// The names that Gemini accepts. Other providers accept more.
const NAME = /^[a-z_][a-z0-9_-]{0,63}$/i;
const MAX_ISSUES = 5;

/**
 * Creates a tool. @throws {TypeError} the name is invalid, or the schema cannot be converted to JSON Schema.
 */
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

/**
 * Creates a tool from a client's declaration. The model receives the schema unchanged, and the client
 * validates the arguments.
 */
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
  const issues = checked.issues.slice(0, MAX_ISSUES).map(describe);
  throw new ToolError(`the arguments are wrong: ${issues.join('; ')}`);
}

function describe({ message, path = [] }: StandardSchemaV1.Issue): string {
  const keys = path.map((step) => String(typeof step === 'object' ? step.key : step));
  return keys.length === 0 ? message : `${keys.join('.')}: ${message}`;
}
