def test_a(workspace): pass
def test_b(workspace): pass
def test_c(settled): pass
def test_d(settled):
    print(settled.site.gov("status").out, vars(settled))
    print(settled.site.gov.json("tx","promote",settled.completed).ok().data)
def test_e(settled):
    print(settled.site.gov.json("tx","promote",settled.completed).ok().data)
