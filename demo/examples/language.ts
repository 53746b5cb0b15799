/** A tool that the page runs. It is only declared here: the code of the UI answers its calls. */
export const language = {
  name: 'language',
  description: "Says which language the user's browser is set to.",
  parameters: { jsonSchema: { type: 'object', properties: {} } },
};
