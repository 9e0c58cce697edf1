"""As much of the newer node interface as a loader needs."""


class io:
    class Schema:
        def __init__(self, node_id, display_name=None, category="sd", inputs=(), outputs=()):
            self.node_id = node_id
            self.display_name = display_name
            self.category = category
            self.inputs = inputs
            self.outputs = outputs

    class ComfyNode:
        @classmethod
        def define_schema(cls):
            raise NotImplementedError

        @classmethod
        def GET_SCHEMA(cls):
            return cls.define_schema()


class ComfyExtension:
    async def on_load(self):
        pass

    async def get_node_list(self):
        raise NotImplementedError
