import sys; sys.path[:0]=["/work/main/tests/tasks","/work/main/tests"]
import test_garbled_fuzz as f
def test_data(trained, tmp_path, command):
    found=[f.tried(*c, trained, tmp_path, command) for c in f.cases(trained) if c[0][0]=="DiffSet"]
    print(len(found)); assert [x for x in found if x]==[]
trained=f.trained
