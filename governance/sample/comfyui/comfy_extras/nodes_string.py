class StringConcatenate:
    CATEGORY = "utils/string"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "execute"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"string_a": ("STRING",), "string_b": ("STRING",)}}

    def execute(self, string_a, string_b):
        return (string_a + string_b,)


NODE_CLASS_MAPPINGS = {"StringConcatenate": StringConcatenate}
